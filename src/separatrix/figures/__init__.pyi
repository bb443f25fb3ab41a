from .distributions import distribution
from .fields import field
from .phase_portraits import phase_portrait
from .profiles import exponents_by_layer
from .region_maps import regions
from .ricci_curves import ricci_curve
from .ricci_layers import curvature_expansion
from .ricci_maps import ricci_map
from .training_histories import exponent_histories, loss_history

__all__ = [
    "curvature_expansion",
    "distribution",
    "exponent_histories",
    "exponents_by_layer",
    "field",
    "loss_history",
    "phase_portrait",
    "regions",
    "ricci_curve",
    "ricci_map",
]
