"""Optimisation: smaller and faster variants of a model."""
