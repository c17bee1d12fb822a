"""Familiarity: how a scene lies to the imagery that a model learnt from.

`reference` holds the features of that imagery, and how far others lie from it. `looking` computes
the features of the blocks of a scene, and gives the verdict.
"""
