"""Graphs that others exported: wrapped by their convention into model files; needs no torch."""
