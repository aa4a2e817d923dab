"""How a trace looks: the page, its lanes and tables, the terminal, and the Perfetto file."""
