"""How probabilities are kept in the eight bits of a saved map."""

#: Steps of a probability between 0 and 1, in the rasters that geodamage writes and in saved maps.
MAP_STEPS = 250
#: Code of a pixel that a map says nothing about.
MAP_UNKNOWN = 255
