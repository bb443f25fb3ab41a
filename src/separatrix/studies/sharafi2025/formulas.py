"""The tangent operator in closed form against autograd and against differences, for several sizes and activations."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import nn

from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Measurement, at_most
from separatrix.studies.study import Context, Part, Table
from separatrix.studies.wording import number
from separatrix.systems import optim
from separatrix.systems.squared_error import half_squared_error
from separatrix.systems.training import Training

SIZES = ((1, 2, 1), (1, 10, 1), (2, 4, 3), (5, 7, 2))
"""Numbers of inputs, hidden nodes and outputs."""

KINDS: tuple[type[nn.Module], ...] = (nn.Tanh, nn.Sigmoid, nn.Softplus, nn.ReLU, nn.GELU, nn.SiLU)
READOUTS: tuple[type[nn.Module], ...] = (nn.Identity, nn.Sigmoid)
RATE, STEP = 0.3, 1e-5


def run(context: Context) -> Part:
    """Compare them; this takes a second at either scale."""
    return part(context.seed)


def part(seed: int) -> Part:
    """Compare closed forms with autograd and with central differences."""
    rows, hessians, tangents = [], [], []
    for kind, readout in product(KINDS, READOUTS):
        exact, moved = np.array([errors(size, kind, readout, seed) for size in SIZES]).T
        hessians += exact.tolist()
        tangents += moved.tolist()
        words = (kind.__name__, "linear" if readout is nn.Identity else readout.__name__)
        rows.append((*words, number(exact.max()), number(moved.max())))
    n = len(hessians)
    finding = Finding(
        "C1",
        [
            Measurement("Hessian by blocks less autograd's, relative, largest", max(hessians), n=n, of="networks",
                        accept=at_most(1e-10, decisive=True)),
            Measurement("tangent less central differences of the step, relative, largest", max(tangents), n=n,
                        of="networks", accept=at_most(1e-6)),
        ],
    )  # fmt: skip
    header = ("activation", "output", "Hessian", "tangent")
    sizes = ", ".join("-".join(map(str, size)) for size in SIZES)
    table = Table(header, rows, f"Largest relative errors of the closed forms, for nodes {sizes}.", numbers=(2, 3))
    note = (
        "For gradient descent the tangent operator is M = 1 − ηH, with the Hessian H of the loss (1/2N) Σ|y − t|² "
        "written out in blocks for a hidden layer of any size, any activation with two derivatives and any "
        "elementwise output. Differences stop at the rounding of the difference quotient."
    )
    return Part([finding], tables=[table], notes=[note], settings={"η": RATE, "step of the differences": STEP})


def errors(
    size: tuple[int, int, int], kind: type[nn.Module], readout: type[nn.Module], seed: int
) -> tuple[float, float]:
    """Relative errors of the Hessian against autograd's, and of M V against central differences of the step."""
    inputs, hidden, outputs = size
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(9, inputs, generator=generator, dtype=torch.float64)
    y = torch.randn(9, outputs, generator=generator, dtype=torch.float64)
    parts: list[nn.Module] = [nn.Linear(inputs, hidden), kind(), nn.Linear(hidden, outputs)]
    network = nn.Sequential(*parts, *([] if readout is nn.Identity else [readout()]))
    blocks, traced = (
        Training(network, half_squared_error, (X, y), optim.GradientDescent(lr=RATE), method=method)
        for method in ("blocks", "vmap")
    )
    state = torch.randn(3, blocks.count, generator=generator, dtype=torch.float64)
    V = torch.randn(2, 3, blocks.count, generator=generator, dtype=torch.float64)
    expected = traced.hessian(state)
    exact = float((blocks.hessian(state) - expected).norm() / expected.norm())
    pushed = blocks.tangent(state, V, 0)[1]
    with torch.no_grad():
        ends = [blocks.step((state + sign * STEP * V).flatten(0, 1), 0).view_as(V) for sign in (1.0, -1.0)]
    moved = (ends[0] - ends[1]) / (2 * STEP)
    return exact, float((moved - pushed).norm() / pushed.norm())
