"""Optimizers of ``torch.optim`` as pure maps on (weights, memory), with the exact derivatives of their steps."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
