"""Exports: a result in the formats and schemas that others use.

A schema renames what a result says of buildings, and says what is lost by it; a format writes it.
Everything else stands beside it: the assessed area, and a sidecar with the mapping.
"""
