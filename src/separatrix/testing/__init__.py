"""Naive twins, conformance checks and the model zoo: what the fast paths are tested against."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
