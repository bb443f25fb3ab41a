"""The 828 cases: 23 weight settings, 6 activations, 3 depths, with and without bias."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

from separatrix.systems.curves import Curve, curve

RANGES = ((-1.5, -1.1), (0.0, 1.0), (0.99, 1.0), (0.99, 1.1), (1.0, 1.01), (0.99, 1.01), (1.1, 1.5))
"""Labels (lo, hi) of the released code's ``sigma_min`` and ``sigma_max``."""

DEPTHS = (1, 4, 8)
"""Hidden layers; there is one matrix more, and the activation follows every one of them."""

NAMES = {"relu": "ReLU", "selu": "SELU", "gelu": "GELU", "tanh": "tanh", "sigmoid": "sigmoid", "softplus": "softplus"}
"""Activations, and how they are written."""

ACTIVATIONS = tuple(NAMES)


@dataclass(frozen=True)
class Setting:
    """A weight factorisation of the released code with its range.

    Attributes
    ----------
    kind : str
        "softSVD", "gershgorin" (real label), "gershgorin complex", "pf", "linear", and for 64 dimensions "spectral",
        "skew", "damp_skew", "symplectic".
    lo, hi : float
        The range; without meaning for "linear", "skew" and "symplectic".
    """

    kind: str
    lo: float = 0.0
    hi: float = 1.0

    @property
    def name(self) -> str:
        """Such as "softSVD (0.99, 1)"."""
        return self.kind if self.kind == "linear" else f"{self.kind} ({self.lo:g}, {self.hi:g})"


SETTINGS = (
    *(Setting("softSVD", *r) for r in RANGES),
    *(Setting(kind, *r) for kind in ("gershgorin", "gershgorin complex") for r in RANGES),
    Setting("pf", 1.0, 1.0),
    Setting("linear"),
)
"""The 23 weight settings of the sweep."""

BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True)
class Case:
    """One of the 828."""

    setting: Setting
    activation: str
    depth: int
    bias: bool

    @property
    def name(self) -> str:
        """Such as "softSVD (0.99, 1), SELU, n = 8, no bias"."""
        return f"{self.setting.name}, {NAMES[self.activation]}, n = {self.depth}, {'bias' if self.bias else 'no bias'}"


CASES = tuple(Case(*c) for c in product(SETTINGS, ACTIVATIONS, DEPTHS, (False, True)))


@cache
def known(activation: str) -> Curve:
    """What is known of an activation of the sweep."""
    import torch
    import torch.nn.functional as F

    functions = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
    return curve(functions.get(activation) or getattr(F, activation))
