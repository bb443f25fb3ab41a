"""Exact maps that refute what the pictures invite to believe."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import Tensor, nn

from separatrix.figures import style, svg
from separatrix.local.affine import affine
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_most
from separatrix.studies.study import Context, Figure, Part

RIGHT = ((-1.1, 1.0), (-0.2, -0.6))
LEFT = ((1.3, 1.0), (-1.6, -0.6))
"""The two linear maps of :func:`two_regions`, for x1 >= 0 and x1 < 0; they agree where x1 = 0."""


def two_regions() -> nn.Sequential:
    """A network of four ReLU units without bias that is one linear map for x1 >= 0 and another one for x1 < 0."""
    right, left = torch.tensor(RIGHT, dtype=torch.float64), torch.tensor(LEFT, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False)).double()
    net[0].weight.data = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
    net[2].weight.data = torch.stack([right[:, 0], -left[:, 0], right[:, 1], -right[:, 1]], 1)
    return net.requires_grad_(False)


def gelu(factor: float, offset: float) -> Callable[[float], float]:
    """Factor gelu(x) + offset, as a function of one number."""
    return lambda x: factor * x * 0.5 * math.erfc(-x / math.sqrt(2)) + offset


def equilibria(f: Callable[[float], float], lo: float, hi: float, cells: int = 2000) -> list[float]:
    """Fixed points of a function of one number, one for each change of sign of f(x) - x."""
    xs = np.linspace(lo, hi, cells + 1)
    values = [f(x) - x for x in xs]
    return [
        float(brentq(lambda x: f(x) - x, a, b, xtol=1e-14))
        for a, b, u, v in zip(xs[:-1], xs[1:], values[:-1], values[1:], strict=True)
        if u * v < 0
    ]


def slope(factor: float, x: float) -> float:
    """Derivative of factor gelu."""
    density = math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return factor * (0.5 * math.erfc(-x / math.sqrt(2)) + x * density)


def orbit(f: Callable[[float], float], x: float, steps: int) -> list[float]:
    """States of a map of one number."""
    states = [x]
    for _ in range(steps):
        states.append(f(states[-1]))
    return states


def growth(net: nn.Sequential, steps: int = 600) -> tuple[float, Tensor]:
    """Growth of the norm per step along an orbit that is scaled back at each step, and its first 40 states unscaled."""
    x = torch.tensor([[1.0, 0.3]], dtype=torch.float64)
    path, y, total = [x], x, 0.0
    for k in range(steps):
        if k < 40:
            y = net(y)
            path.append(y)
        x = net(x)
        size = float(x.norm())
        if k >= steps // 2:
            total += math.log(size)
        x = x / size
    return math.exp(total / (steps - steps // 2)), torch.cat(path)


def unit_disc(net: nn.Sequential, rate: float) -> Finding:
    """C9: spectral radius below one everywhere, and an orbit that grows."""
    rng = torch.Generator().manual_seed(0)
    points = 6 * (2 * torch.rand(2000, 2, generator=rng, dtype=torch.float64) - 1)
    radius = float(torch.linalg.eigvals(affine(net, points).A).abs().amax())
    return Finding(
        "C9",
        [
            Measurement(
                "growth of |x| per step along an orbit of a ReLU map with ρ(A*) < 1 everywhere",
                rate,
                n=300,
                of="steps",
                target=1.0,
                baseline=Baseline("largest ρ(A*)", radius),
                accept=at_most(1.0, decisive=True, contrary=(1.0, math.inf)),
            )
        ],
        reason=f"A map of two linear pieces with spectral radii {_radius(RIGHT):.3f} and {_radius(LEFT):.3f} diverges: "
        "orbits change from one to the other, and products of the two grow.",
    )


def _radius(matrix: tuple[tuple[float, float], ...]) -> float:
    return float(np.abs(np.linalg.eigvals(np.array(matrix))).max())


def stable_without_norms() -> Finding:
    """C8: a stable map whose norms all exceed one."""
    A = np.array([[0.5, 4.0], [0.0, 0.5]])
    least = min(float(np.linalg.norm(A, p)) for p in (1, 2, np.inf))
    return Finding(
        "C8",
        [
            Measurement(
                "smallest of the 1-, 2- and ∞-norm of the stable map [[0.5, 4], [0, 0.5]]",
                least,
                n=1,
                of="maps",
                baseline=Baseline("its spectral radius", float(np.abs(np.linalg.eigvals(A)).max())),
                accept=at_most(1.0, decisive=True, contrary=(1.0, math.inf)),
            )
        ],
    )


def bounded_chords() -> Finding:
    """C16: chords below one at every point, yet an orbit escapes, and two more equilibria."""
    f, g = gelu(1.0, 0.12), gelu(0.95, 0.17)
    away = orbit(f, 1.3461, 5000)[-1]
    several = equilibria(g, -10, 10)
    return Finding(
        "C16",
        [
            Measurement("gelu(x) + 0.12, start 1.3461: x after 5,000 steps", away, n=5000, of="steps",
                        baseline=Baseline("start 1.3459", orbit(f, 1.3459, 5000)[-1]),
                        accept=at_most(2.0, decisive=True, contrary=(2.0, math.inf))),
            Measurement("0.95 gelu(x) + 0.17: number of equilibria", float(len(several)), n=1, of="maps", target=1.0,
                        accept=at_most(1.0, contrary=(1.0, math.inf))),
            Measurement("0.95 gelu(x) + 0.17: largest equilibrium", max(several), n=1, of="maps",
                        baseline=Baseline("β/(1 − q)", 3.4), accept=at_most(3.4)),
        ],
        reason="Chords below one bound orbits only where they stay away from one; where they do, orbits are bounded "
        "(third number), but slopes may exceed one, and equilibria need not be unique.",
    )  # fmt: skip


def local() -> Finding:
    """C17: an unstable equilibrium with constant b* and a chord below one."""
    c = equilibria(gelu(1.0, 0.12), 1.0, 2.0)[0]
    chord = (gelu(1.0, 0.12)(c) - 0.12) / c
    return Finding(
        "C17",
        [
            Measurement("gelu(x) + 0.12: slope at the equilibrium x = 1.3460", slope(1.0, c),
                        baseline=Baseline("chord A*", chord),
                        accept=at_most(1.0, decisive=True, contrary=(1.0, math.inf))),
            Measurement("gelu(x) + 0.12: slope at the equilibrium x = 0.3207",
                        slope(1.0, equilibria(gelu(1.0, 0.12), 0.0, 1.0)[0])),
        ],
        reason="The chord from the origin says nothing of neighbours of the equilibrium; the slope does, and the chord "
        "from the equilibrium itself.",
    )  # fmt: skip


def layers() -> Finding:
    """C18: two layers without any eigenvalue but 0."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False), nn.ReLU()).double()
    net[0].weight.data = torch.tensor([[0.0, 0], [2, 0]], dtype=torch.float64)
    net[2].weight.data = torch.tensor([[0.0, 2], [0, 0]], dtype=torch.float64)
    A = affine(net.requires_grad_(False), torch.ones(1, 2, dtype=torch.float64)).A
    radius = float(torch.linalg.eigvals(A).abs().amax())
    return Finding(
        "C18",
        [
            Measurement("ρ(A*) of two ReLU layers whose only eigenvalue is 0", radius, target=0.0,
                        accept=at_most(1.0, decisive=True, contrary=(1.0, math.inf)))
        ],
        reason="Norms of layers multiply; their eigenvalues do not.",
    )  # fmt: skip


def picture(path: Tensor) -> Figure:
    """The growing orbit, and the two GELU maps with their equilibria."""

    def paint(figure: object) -> None:
        left, right = figure.subplots(1, 2)  # type: ignore[attr-defined]
        n = path.norm(dim=1)
        left.semilogy(range(len(n)), n, ".-", color="#ae4024", lw=1, ms=4)
        left.set(xlabel="step", ylabel="|x|", title="ρ(A*) < 1 everywhere, and |x| grows")
        xs = torch.linspace(-1, 4.5, 400, dtype=torch.float64)
        for (factor, offset), color in zip(((1.0, 0.12), (0.95, 0.17)), style.line_colors(2), strict=True):
            curve = factor * F.gelu(xs) + offset - xs
            name = "gelu(x) + 0.12" if factor == 1 else "0.95 gelu(x) + 0.17"
            right.plot(xs, curve, color=color, lw=1.3, label=name)
            for c in equilibria(gelu(factor, offset), -10, 10):
                full = abs(slope(factor, c)) < 1
                right.plot(c, 0, "o", color=color, mfc=color if full else "white", ms=5)
        right.axhline(0, color=style.QUIET, lw=0.6)
        right.set(xlabel="x", ylabel="f(x) − x", ylim=(-0.1, 0.2), title="chords below one")
        right.legend(frameon=False, fontsize=8)
        for ax in (left, right):
            style.frame(ax, open_corner=True)

    return Figure(
        "Maps that refute readings of the pictures",
        svg.draw_panels(paint, size=(8.2, 3.0), alt="A growing orbit and maps with several equilibria", name="counter"),
        "Left: an orbit of a ReLU map both of whose linear pieces have a spectral radius below one. Right: f(x) − x of "
        "two maps with chords below one; filled: stable equilibria, open: unstable ones.",
        size="full",
    )


def run(context: Context) -> Part:
    """Evaluate the maps."""
    net = two_regions()
    rate, path = growth(net)
    return Part(
        findings=[stable_without_norms(), unit_disc(net, rate), bounded_chords(), local(), layers()],
        figures=[picture(path)],
        settings={
            "two regions": f"A = {RIGHT} for x₁ ≥ 0, {LEFT} for x₁ < 0; four ReLU units, no bias",
            "GELU": "by the error function, in one dimension; equilibria by bisection to 10⁻¹⁴",
        },
    )
