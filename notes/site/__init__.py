"""The notes as a site that works from disk."""
