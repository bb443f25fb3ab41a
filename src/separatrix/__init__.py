"""Separatrix: neural networks as dynamical systems, along depth, iteration and training.

Names are loaded when they are first used: ``import separatrix`` does not import torch.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
