"""Drawings in SVG that a reader may zoom: swim lanes of threads, and flame graphs of samples."""
