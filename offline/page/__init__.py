"""A run as one page: the answer in sentences, charts, and all its cells."""
