"""Why is it so? The room for walkthroughs of vLLM's code, bound to its source and to a recorded trace.

It owns the text and its anchors; it is empty until the first walkthrough lands.
"""
