"""What the factorisations really give: realised spectra against labels, real spectra, and A* at the origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from separatrix.figures import style, svg
from separatrix.local.affine import affine
from separatrix.local.spectrum import eigenvalues
from separatrix.studies.drgona2022.cases import ACTIVATIONS, DEPTHS, RANGES, SETTINGS, Setting
from separatrix.studies.drgona2022.measure import grid_points
from separatrix.studies.drgona2022.networks import stacked
from separatrix.studies.drgona2022.norm_products import norm_2
from separatrix.studies.drgona2022.shares import counted
from separatrix.studies.drgona2022.weights import layers
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Accept, Baseline, Measurement, at_least, at_most
from separatrix.studies.study import Context, Figure, Part, Table

INITIAL = 0.7310585786300049
"""Sigmoid of 1: the released soft SVD draws its arguments between 0 and 1."""


@dataclass(frozen=True)
class Realised:
    """Spectra of drawn layers of one setting, sizes of singular values or moduli of eigenvalues."""

    setting: Setting
    values: np.ndarray

    @property
    def label(self) -> tuple[float, float]:
        """The range as sizes."""
        ends = sorted((abs(self.setting.lo), abs(self.setting.hi)))
        return ends[0], ends[1]

    @property
    def coverage(self) -> float:
        """Width of what was drawn over the width of the label."""
        return float(np.ptp(self.values) / (self.label[1] - self.label[0]))

    @property
    def contained(self) -> bool:
        """Whether all of it lies within the label."""
        return bool(self.values.min() >= self.label[0] - 1e-12 and self.values.max() <= self.label[1] + 1e-12)


def realised(setting: Setting, seeds: range) -> Realised:
    """Draw nine layers for each seed."""
    A = torch.from_numpy(np.concatenate([layers(setting, 8, seed)[0] for seed in seeds]))
    if setting.kind == "softSVD":
        largest = norm_2(A)
        return Realised(setting, torch.cat([largest, torch.linalg.det(A).abs() / largest]).numpy())
    return Realised(setting, eigenvalues(A).abs().flatten().numpy())


def labels(found: list[Realised]) -> Finding:
    """C10: realised ranges within their labels, and how much of them."""
    rows = []
    for kind, name, expected in (
        ("softSVD", "softSVD, singular values", INITIAL - 0.5),
        ("gershgorin", "gershgorin, moduli of eigenvalues", None),
        ("gershgorin complex", "gershgorin complex, moduli of eigenvalues", None),
    ):
        mine = [one for one in found if one.setting.kind == kind]
        inside = np.array([one.contained for one in mine])
        rows.append(counted(f"{name}: within the label", inside, of="ranges", accept=at_least(1.0)))
        rows.append(
            Measurement(
                f"{name}: share of the label's width",
                float(np.mean([one.coverage for one in mine])),
                n=len(mine),
                of="ranges",
                target=1.0,
                baseline=None if expected is None else Baseline("expected from the draws", expected),
                accept=at_least(0.9),
            )
        )
    return Finding("C10", rows)


def complex_share(kind: str, seeds: range, depths: tuple[int, ...] = DEPTHS) -> tuple[int, int, float]:
    """Networks of a kind with a complex spectrum somewhere on the grid, all networks, and the share of points."""
    x = grid_points(13)
    some = total = 0
    points: list[float] = []
    for lo, hi in RANGES:
        for activation in ACTIVATIONS:
            for depth in depths:
                nets = stacked(Setting(kind, lo, hi), activation, depth, seeds, (False, True))
                turning = eigenvalues(nets.chords(x.expand(len(nets), -1, -1)))[..., 0].imag != 0
                some += int(turning.any(1).sum())
                total += len(nets)
                points.append(float(turning.double().mean()))
    return some, total, float(np.mean(points))


def complex_spectra(seeds: range) -> tuple[Finding, Measurement]:
    """C11: complex eigenvalues of A*, for the label "complex" and for soft SVD."""
    some, total, _ = complex_share("gershgorin complex", seeds)
    others = complex_share("softSVD", seeds)
    row = Measurement(
        "networks with a complex eigenvalue of A* at some point of the grid",
        some / total,
        n=total,
        of="networks",
        baseline=Baseline("softSVD", others[0] / others[1]),
        accept=Accept(low=0.001, contrary=(-1.0, 0.001)),
    )
    reason = (
        "Its off-diagonal entries have one sign. Two by two matrices whose diagonal and off-diagonal entries each have "
        "one sign have real eigenvalues, and their products, with chords ≥ 0 between them, are of the same form."
    )
    share = Measurement("share of points with complex eigenvalues, softSVD", others[2], n=others[1], of="networks")
    return Finding("C11", [row], reason=reason), share


def at_origin(seeds: range) -> Finding:
    """C12: A*(0) of networks without bias whose activation maps 0 to 0."""
    norms, differences, products = [], [], []
    zero = torch.zeros(1, 2, 1, dtype=torch.float64)
    near_zero = 1e-9 * torch.tensor([[[0.6], [-0.8]]], dtype=torch.float64)
    for setting in SETTINGS:
        for depth in DEPTHS:
            for activation in ("relu", "selu", "gelu", "tanh"):
                nets = stacked(setting, activation, depth, seeds, (False,))
                at = nets.chords(zero.expand(len(nets), -1, -1))[:, 0]
                norms.append(norm_2(at))
                if activation in ("gelu", "tanh"):
                    limit = nets.chords(near_zero.expand(len(nets), -1, -1))[:, 0]
                    differences.append((norm_2(at - limit) / norm_2(at)).amax())
                if activation == "tanh":
                    whole = _product(nets.A)
                    products.append((norm_2(at - whole) / norm_2(whole)).amax())
    values = torch.cat(norms)
    found = float(affine(lambda x: torch.tanh(5 * x), torch.zeros(1, 1, dtype=torch.float64)).A)
    rows = [
        Measurement(
            "‖A*(0)‖₂ (median)",
            float(values.median()),
            interval=(float(values.quantile(0.1)), float(values.quantile(0.9))),
            spread_name="10 % to 90 % of networks",
            n=len(values),
            of="networks",
            target=0.0,
            baseline=Baseline("released routine", 0.0),
            accept=at_most(0.0, decisive=True, contrary=(0.0, np.inf)),
        ),
        Measurement("A*(0) of tanh(5 x)", found, target=0.0, baseline=Baseline("slope", 5.0),
                    accept=at_most(0.0, contrary=(0.0, np.inf))),
        Measurement("‖A*(0) − A*(x)‖ over ‖A*(0)‖ at |x| = 10⁻⁹, tanh and GELU (largest)",
                    float(torch.stack(differences).amax()), n=len(values), of="networks"),
        Measurement("‖A*(0) − product of weights‖ over its norm, tanh (largest)",
                    float(torch.stack(products).amax()), n=len(values) // 4, of="networks"),
    ]  # fmt: skip
    return Finding("C12", rows, reason="The limit of (s(z) − s(0))/z is the slope s′(0), which is not 0.")


def _product(A: tuple[torch.Tensor, ...]) -> torch.Tensor:
    whole = A[0]
    for layer in A[1:]:
        whole = layer @ whole
    return whole


def picture(found: list[Realised]) -> Figure:
    """Realised ranges beside their labels."""

    def paint(figure: object) -> None:
        kinds = ("softSVD", "gershgorin", "gershgorin complex")
        panels = figure.subplots(1, len(kinds), sharey=True)  # type: ignore[attr-defined]
        for ax, kind in zip(panels, kinds, strict=True):
            mine = [one for one in found if one.setting.kind == kind]
            for i, one in enumerate(mine):
                width = one.label[1] - one.label[0]
                at = (one.values - one.label[0]) / width
                ax.barh(i, 1.0, color=style.GROUND, height=0.55)
                ax.barh(i, np.ptp(at), left=at.min(), color="#1f5f93", height=0.55)
            ax.set_yticks(range(len(mine)), labels=[f"({one.setting.lo:g}, {one.setting.hi:g})" for one in mine])
            ax.set(xlim=(-0.03, 1.03), title=kind, xticks=(0, 0.5, 1))
            style.frame(ax, open_corner=True)
            ax.tick_params(axis="y", length=0)
        panels[0].invert_yaxis()
        panels[1].set_xlabel("place within the label, from its smaller to its larger size")

    return Figure(
        "Realised spectra and their labels",
        svg.draw_panels(paint, size=(8.4, 2.8), alt="Realised ranges of spectra within their labels", name="labels"),
        "Grey: the label. Blue: singular values (softSVD) or moduli of eigenvalues (gershgorin) of untrained layers. "
        "Look at how little of each label is used, and where it lies.",
        size="full",
    )


def table(found: list[Realised]) -> Table:
    """Realised ranges in numbers."""
    rows = [
        (
            one.setting.kind,
            f"{one.setting.lo:g} to {one.setting.hi:g}".replace("-", "−"),
            f"{one.values.min():.4f}",
            f"{one.values.max():.4f}",
            f"{one.coverage:.0%}",
        )
        for one in found
    ]
    header = ("factorisation", "label", "smallest", "largest", "share of the width")
    caption = "Sizes of singular values (softSVD) and eigenvalues (gershgorin) of untrained 2 × 2 layers"
    return Table(header, rows, caption, numbers=(2, 3, 4))


def run(context: Context) -> Part:
    """Measure layers, spectra and A*(0)."""
    many = range(context.seed, context.seed + context.pick(quick=50, paper=1000))
    few = range(context.seed, context.seed + context.pick(quick=1, paper=20))
    found = [realised(s, many) for s in SETTINGS if s.kind not in ("pf", "linear")]
    context.say("factorisations: complex spectra")
    spectra, beside = complex_spectra(few)
    return Part(
        findings=[labels(found), spectra, at_origin(few)],
        figures=[picture(found)],
        tables=[table(found)],
        measurements=[beside],
        settings={
            "layers": f"{9 * len(many):,} of each setting, 2 × 2, untrained",
            "complex spectra": f"7 ranges × 6 activations × 3 depths × bias off and on, seeds {few.start} to "
            f"{few.stop - 1}, 13 × 13 points of [−6, 6]²",
            "A*(0)": "23 weight settings, 3 depths, ReLU (slope to the right), SELU (slope to the right), GELU, tanh",
        },
        notes=[
            "The released soft SVD draws the arguments of its sigmoid between 0 and 1, so that singular values start "
            "between 27 % and 50 % of the way from lo to hi. Its Gershgorin layers divide one softmax over all "
            "off-diagonal entries, and have no parameter that training could move.",
        ],
    )
