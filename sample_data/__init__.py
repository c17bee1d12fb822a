"""Procedural scenes: the committed sample pair and the synthetic part of the training data."""
