from .adaptive import Adam, AdamW, RMSprop
from .convert import from_torch
from .momentum import GradientDescent, HeavyBall, Nesterov
from .rule import Optimizer

__all__ = [
    "Adam",
    "AdamW",
    "GradientDescent",
    "HeavyBall",
    "Nesterov",
    "Optimizer",
    "RMSprop",
    "from_torch",
]
