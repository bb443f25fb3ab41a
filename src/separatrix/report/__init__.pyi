from .context import Context, Options
from .document import Chapter, Figure, Section, Table
from .field_files import write_field
from .loading import load_loss, load_model, load_weights
from .page import Report, write
from .registry import instrument, instruments
from .training import Trained, fit

__all__ = [
    "Chapter",
    "Context",
    "Figure",
    "Options",
    "Report",
    "Section",
    "Table",
    "Trained",
    "fit",
    "instrument",
    "instruments",
    "load_loss",
    "load_model",
    "load_weights",
    "write",
    "write_field",
]
