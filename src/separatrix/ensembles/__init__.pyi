from .seeding import gaussian, glorot, make_members
from .stack import Stack
from .training import Outcome, Trained, train
from .uncertainty import mutual_information, predictive_entropy

__all__ = [
    "Outcome",
    "Stack",
    "Trained",
    "gaussian",
    "glorot",
    "make_members",
    "mutual_information",
    "predictive_entropy",
    "train",
]
