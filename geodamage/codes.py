"""How probabilities are kept in the eight bits of a saved map."""

#: Steps of a saved map between 0 and 1, as in the rasters that geodamage writes; 1 byte a pixel.
MAP_STEPS = 250


#: Code of a pixel that a map says nothing about.
MAP_UNKNOWN = 255
