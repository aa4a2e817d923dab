"""Where the time of a request went: what explains it, its named waits, its hops, and its budget."""
