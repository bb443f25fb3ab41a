from .array_files import arrays
from .bundled import digits
from .idx_files import idx
from .record import Problem
from .references import resolve
from .sources import load
from .toys import disc

__all__ = ["Problem", "arrays", "digits", "disc", "idx", "load", "resolve"]
