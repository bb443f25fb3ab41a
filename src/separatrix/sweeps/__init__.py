"""Many runs of one task: a store of results that survives crashes, and engines that fill it."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
