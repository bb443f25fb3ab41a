from .distributions import distribution
from .fields import field
from .phase_portraits import phase_portrait
from .profiles import exponents_by_layer
from .region_maps import regions
from .ricci_curves import ricci_curve
from .ricci_layers import curvature_expansion
from .ricci_maps import ricci_map

__all__ = [
    "curvature_expansion",
    "distribution",
    "exponents_by_layer",
    "field",
    "phase_portrait",
    "regions",
    "ricci_curve",
    "ricci_map",
]
