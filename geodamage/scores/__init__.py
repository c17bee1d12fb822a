"""Scores: every one of them."""
