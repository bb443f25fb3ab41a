"""The shape of data from layer to layer: neighbour graphs, geodesics, curvature, and Ricci coefficients."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
