"""What people say of buildings: samples to look at, answers, and what follows from them.

A name's module is imported when the name is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
