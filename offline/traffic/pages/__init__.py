"""What a reader of a load run gets: its summary, its charts, and the page and the report that hold them."""
