"""Comparison: a result beside a layer that others made of the same event."""
