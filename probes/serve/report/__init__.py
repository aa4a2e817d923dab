"""What came of a server, as it is told: lines for a terminal, a verdict, pages to hand in."""
