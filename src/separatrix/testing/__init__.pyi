from .conformance import check_system
from .twins import dense_jacobian, dense_stretches
from .zoo import Case, cases

__all__ = ["Case", "cases", "check_system", "dense_jacobian", "dense_stretches"]
