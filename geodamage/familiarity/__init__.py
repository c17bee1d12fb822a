"""Familiarity: how a scene lies to the imagery that a model learnt from.

`reference` holds what features of that imagery look like, and how far others lie from it; `looking`
takes features of the blocks of a scene and says what comes of it.
"""
