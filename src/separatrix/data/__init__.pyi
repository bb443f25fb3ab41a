from .array_files import arrays
from .bundled import digits
from .entangled import crossing_sheets, pierced_box, rolled_sheets
from .idx_files import idx
from .record import Problem
from .references import resolve
from .shapes import circles, cylinders, four_circles, tori
from .sources import load
from .toys import disc

__all__ = [
    "Problem",
    "arrays",
    "circles",
    "crossing_sheets",
    "cylinders",
    "digits",
    "disc",
    "four_circles",
    "idx",
    "load",
    "pierced_box",
    "resolve",
    "rolled_sheets",
    "tori",
]
