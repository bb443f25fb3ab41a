from .distributions import distribution
from .fields import field
from .profiles import exponents_by_layer

__all__ = ["distribution", "exponents_by_layer", "field"]
