from .distributions import distribution
from .fields import field
from .phase_portraits import phase_portrait
from .profiles import exponents_by_layer
from .region_maps import regions

__all__ = ["distribution", "exponents_by_layer", "field", "phase_portrait", "regions"]
