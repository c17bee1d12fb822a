"""Comparison: a result held against a layer that others made of the same event."""
