"""Studies of papers, claim by claim: what a paper says, what was measured, and a verdict computed from the numbers."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
