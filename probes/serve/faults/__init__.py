"""Why a server did not start, or did not go on: the table of causes, and the reading of its log's errors by it."""
