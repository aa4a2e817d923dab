"""The walkthrough: chapters bound to vLLM's source by anchors and edges."""
