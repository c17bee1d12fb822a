"""Scores: all of them."""
