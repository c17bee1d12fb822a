"""Familiarity: how similar a scene is to the training imagery of a model.

`reference` holds the features of that imagery, and how far others lie from it. `looking` computes
the features of the blocks of a scene, and gives the verdict.
"""
