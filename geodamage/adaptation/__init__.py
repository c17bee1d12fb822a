"""Adaptation: what a few answers teach about one event, on top of what a model says.

A run keeps features of its buildings (`following`), `adapting` learns a head from answers, and
`regrading` grades the buildings again. A name's module is imported when the name is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
