"""The 64-dimensional set: spectra of A* for eight factorisations."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.figures import style
from separatrix.local.affine import affine
from separatrix.studies.drgona2022.cases import Setting
from separatrix.studies.drgona2022.settling import BOX
from separatrix.studies.drgona2022.weights import layers
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_least, at_most
from separatrix.studies.study import Context, Figure, Part, Table

SIZE, HIDDEN = 64, 4
LABEL = (0.9, 1.0)

CONSTRAINED = ("spectral", "softSVD", "pf", "gershgorin complex")
FREE = ("skew", "damp_skew", "symplectic")
KINDS = (*CONSTRAINED, *FREE, "linear")


@dataclass(frozen=True)
class Spectra:
    """Of A* at points, one entry a seed; ``eigenvalues`` and ``singular`` (point, 64) of the first seed."""

    kind: str
    radius: list[float]
    least: list[float]
    norm: list[float]
    condition: list[float]
    turning: list[float]
    mean: list[float]
    variance: list[float]
    eigenvalues: np.ndarray
    singular: np.ndarray


def network(kind: str, seed: int) -> nn.Sequential:
    """Four hidden layers of 64 ReLU units, a linear output, no bias."""
    A, _ = layers(Setting(kind, *LABEL), HIDDEN, seed, SIZE)
    parts: list[nn.Module] = []
    for one in torch.from_numpy(A):
        linear = nn.Linear(SIZE, SIZE, bias=False, dtype=torch.float64)
        linear.weight.data = one.clone()
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1]).requires_grad_(False)


def points(count: int, seed: int) -> Tensor:
    """Points drawn evenly from the cube."""
    return torch.from_numpy(np.random.default_rng([64, seed]).uniform(-BOX, BOX, (count, SIZE)))


def spectra(kind: str, seeds: range, first: int, others: int) -> Spectra:
    """Measure A* at ``first`` points of the first seed and at ``others`` points of each other one."""
    found: dict[str, list[float]] = {
        n: [] for n in ("radius", "least", "norm", "condition", "turning", "mean", "variance")
    }
    kept: tuple[np.ndarray, np.ndarray] | None = None
    for seed in seeds:
        A = affine(network(kind, seed), points(first if seed == seeds.start else others, seed)).A
        values, singular = torch.linalg.eigvals(A), torch.linalg.svdvals(A)
        moduli = values.abs()
        found["radius"].append(float(moduli.amax()))
        found["least"].append(float(moduli.amin()))
        found["norm"].append(float(singular.amax()))
        least = singular[:, -1]
        condition = torch.where(least > 0, singular[:, 0] / least.clamp(min=1e-300), torch.inf)
        found["condition"].append(float(condition.median().log10()))
        large = moduli > 1e-6 * moduli.amax()
        found["turning"].append(float((values.imag.abs() > 1e-9 * moduli)[large].double().mean()))
        found["mean"].append(float(A.mean(0).abs().mean()))
        found["variance"].append(float(A.var(0).mean()))
        if kept is None:
            kept = values.numpy(), singular.numpy()
    assert kept is not None
    return Spectra(kind, **found, eigenvalues=kept[0], singular=kept[1])


def within(found: dict[str, Spectra]) -> Finding:
    """C15: spectral radii of constrained factorisations and of the skew family."""
    rows = []
    for kind in CONSTRAINED:
        worst = found[kind].radius
        rows.append(
            Measurement(
                f"largest ρ(A*), {kind}",
                max(worst),
                n=len(worst),
                of="networks",
                target=1.0,
                baseline=Baseline("linear", max(found["linear"].radius)),
                accept=at_most(1.0 + 1e-9, decisive=True, contrary=(1.0 + 1e-9, np.inf)),
            )
        )
    rows += [
        Measurement(f"largest ρ(A*), {kind}", max(found[kind].radius), n=len(found[kind].radius), of="networks")
        for kind in FREE
    ]
    largest = max(max(found[kind].radius) for kind in FREE)
    count = sum(len(found[kind].radius) for kind in FREE)
    rows.append(
        Measurement("largest ρ(A*) of the three", largest, n=count, of="networks", accept=at_least(1.0, strict=True))
    )
    return Finding("C15", rows)


def picture(found: dict[str, Spectra]) -> Figure:
    """Eigenvalues in the plane, and profiles of singular values."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.patches import Circle

    canvas = Canvas(figsize=(9.6, 6.6), layout="constrained", dpi=120)
    axes = canvas.subplots(3, 4)
    for ax, one in zip(axes[:2].flat, found.values(), strict=True):
        values = one.eigenvalues[:200].ravel()
        ax.scatter(values.real, values.imag, s=1.0, color="#1f5f93", alpha=0.25, lw=0, rasterized=True)
        ax.add_patch(Circle((0, 0), 1, fill=False, ec=style.QUIET, lw=0.8))
        reach = max(1.1, float(np.abs(values).max()) * 1.05)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=one.kind)
        style.frame(ax)
    left = canvas.add_subplot(axes[2, 0].get_gridspec()[2, :])
    for ax in axes[2]:
        ax.remove()
    for one, color, line in zip(found.values(), style.line_colors(4) * 2, "----::::", strict=True):
        profile = np.maximum(np.median(one.singular, axis=0), 1e-17)
        left.semilogy(range(1, SIZE + 1), profile, line, color=color, lw=1.4, label=one.kind)
    left.set(xlabel="index", ylabel="singular value (median)", xlim=(1, SIZE))
    left.legend(frameon=False, fontsize=8, ncols=4)
    style.frame(left, open_corner=True)
    out = io.BytesIO()
    canvas.savefig(out, format="png", facecolor="white")
    return Figure(
        "Spectra in 64 dimensions",
        out.getvalue(),
        "Eigenvalues of A* at up to 200 points, with the unit circle, and median singular values. Half of the units "
        "are off at each point, so that singular values fall steeply: the label (0.9, 1) is that of layers alone.",
        size="full",
    )


def table(found: dict[str, Spectra]) -> Table:
    """Extremes of the spectra."""
    header = ("factorisation", "ρ(A*)", "smallest |λ|", "‖A*‖₂", "log₁₀ condition", "complex", "mean |E a|", "variance")
    rows = [
        (
            one.kind,
            _cell(one.radius),
            f"{max(one.least):.1e}",
            _cell(one.norm),
            _cell(one.condition),
            f"{np.mean(one.turning):.0%}",
            f"{np.mean(one.mean):.1e}",
            f"{np.mean(one.variance):.1e}",
        )
        for one in found.values()
    ]
    caption = (
        "Mean ± standard deviation over seeds of: largest spectral radius and norm over points, median condition "
        "number; share of complex ones among eigenvalues above 10⁻⁶ ρ; mean over points and variance among them of an "
        "entry of A*"
    )
    return Table(header, rows, caption, numbers=range(1, 8))


def _cell(values: list[float]) -> str:
    if not np.isfinite(values).all():
        return "∞"
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def run(context: Context) -> Part:
    """Measure the eight factorisations."""
    seeds = range(context.seed, context.seed + context.pick(quick=2, paper=20))
    first, others = context.pick(quick=40, paper=1000), context.pick(quick=20, paper=50)
    found = {}
    for kind in KINDS:
        context.say(f"high_dimension: {kind}")
        found[kind] = spectra(kind, seeds, first, others)
    return Part(
        findings=[within(found)],
        figures=[picture(found)],
        tables=[table(found)],
        settings={
            "networks": f"64 inputs, four hidden layers of 64 ReLU units, linear output, no bias, label {LABEL}, "
            f"{len(seeds)} seeds",
            "points": f"{first} of U[−6, 6]⁶⁴ for the first seed, {others} for each other one",
        },
    )
