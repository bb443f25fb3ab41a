"""The papers' problems and real data sets, all seeded, never downloaded behind the user's back."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
