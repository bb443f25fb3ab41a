"""The paper's regression of accuracy on the adjusted coefficient, and what depends on the choices; C10."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from separatrix.figures import style, svg
from separatrix.geometry.coefficients import adjusted, ricci_coefficient
from separatrix.studies.baptista2024.cells import PAPERS, Cells, cells
from separatrix.studies.baptista2024.claims import CLAIMS
from separatrix.studies.baptista2024.measure import CONVENTIONS
from separatrix.studies.baptista2024.regression import Slope, shuffled_t, slope
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Accept, Baseline, Measurement
from separatrix.studies.study import Context, Figure, Part, Table

TARGETS = {claim.id: claim.numbers for claim in CLAIMS}
PERMUTATIONS = 500


@dataclass(frozen=True)
class Rows:
    """Networks as rows of a regression; lists and arrays of one length."""

    accuracy: np.ndarray
    """In per cent."""
    rho: np.ndarray
    depth: np.ndarray
    classes: dict[str, list[object]]
    cell: list[object]

    def z(self, form: str) -> np.ndarray:
        """Adjusted coefficient; NaN where a coefficient is missing or 1 in size."""
        z = adjusted(self.rho, self.depth, form)
        return np.where(np.isfinite(z), z, np.nan)


def rows(found: Cells, convention: str = PAPERS, kind: str = "", choice: str = "k*") -> Rows:
    """Networks used, with their coefficient at ``"k*"``, or at a k chosen on ``"others"``.

    Coefficients of the networks before training, ``kind="_untrained"``, are those at the k of the trained ones.
    """
    accuracy, rho, kept = [], [], []
    for cell in found:
        if choice == "others":
            values = ricci_coefficient(*cell.held_out(convention, kind)[:2]).rho
        elif (place := cell.best(convention)) >= 0:
            values = cell.rho(place, convention, kind)
        else:
            continue
        accuracy.append(100 * cell.accuracy[cell.used])
        rho.append(values)
        kept += [cell] * len(values)
    empty = [np.zeros(0)]
    return Rows(
        np.concatenate(accuracy or empty),
        np.concatenate(rho or empty),
        np.array([cell.depth for cell in kept], dtype=int),
        {
            "problem": [cell.problem.name for cell in kept],
            "widths": [cell.widths for cell in kept],
            "depth": [cell.depth for cell in kept],
        },
        [cell.name for cell in kept],
    )


def run(context: Context) -> Part:
    """Regress accuracy on the adjusted coefficient."""
    context.say("accuracy: regressions")
    return part(cells(context))


def part(found: Cells) -> Part:
    """Regress accuracy on the adjusted coefficient over the networks of cells."""
    fits = variants(found)
    base = rows(found)
    null = shuffled_t(base.accuracy, base.z("paper"), base.classes, base.cell, PERMUTATIONS, 0)
    null = null[np.isfinite(null)]
    return Part(
        findings=[_finding(found, fits, null)],
        figures=[_figure(base)],
        tables=[_table(fits), _by_problem(found)],
        settings={
            "regression": "accuracy in per cent ~ z + problem + width pattern + depth, ordinary least squares, over "
            "the networks used that have a finite z",
            "z": "arctanh(ρ)/√(L − 4) as printed, and arctanh(ρ)·√(L − 4), Fisher's z over its standard error",
        },
        notes=_notes(found, fits, null),
    )


def variants(found: Cells) -> dict[str, Slope]:
    """The regression under every choice, by name; the first is the paper's."""
    fits: dict[str, Slope] = {}
    base = rows(found)
    for form in ("paper", "standard"):
        fits[f"{PAPERS}, k*, z {form}"] = slope(base.accuracy, base.z(form), base.classes)
    fits["the same, ρ itself"] = slope(base.accuracy, base.rho, base.classes)
    fits["z paper, every cell its own mean"] = slope(base.accuracy, base.z("paper"), {"cell": base.cell})
    fits["z paper, ranks within cells"] = slope(
        _ranks(base.accuracy, base.z("paper"), base.cell)[0],
        _ranks(base.accuracy, base.z("paper"), base.cell)[1],
        {"cell": base.cell},
    )
    for convention in CONVENTIONS:
        if convention != PAPERS:
            one = rows(found, convention)
            fits[f"{convention}, k*, z paper"] = slope(one.accuracy, one.z("paper"), one.classes)
        other = rows(found, convention, choice="others")
        fits[f"{convention}, k from other networks, z paper"] = slope(other.accuracy, other.z("paper"), other.classes)
    raw = rows(found, kind="_untrained")
    fits["before training, k* of the trained, z paper"] = slope(raw.accuracy, raw.z("paper"), raw.classes)
    return fits


def _finding(found: Cells, fits: dict[str, Slope], null: np.ndarray) -> Finding:
    first, standard = (fits[f"{PAPERS}, k*, z {form}"] for form in ("paper", "standard"))
    judged = not found.short
    accept = Accept(high=-1.96, decisive=True, contrary=(1.96, np.inf)) if judged else None
    raw = fits["before training, k* of the trained, z paper"]
    shuffled = Baseline("z permuted within cells", float(null.mean()), float(null.std())) if len(null) else None
    target = TARGETS["C10"]
    measurements = [
        Measurement("t of the adjusted coefficient", first.t, n=first.n, of="networks", target=target["t"],
                    baseline=shuffled, accept=accept),
        Measurement("its two-sided p", first.p, n=first.n, of="networks", target=target["p"]),
        Measurement("the same p by permutations of z within cells", permutation_p(first.t, null), n=len(null),
                    of="permutations"),
        Measurement("R² that it adds", 100 * first.r2_gained, "points", n=first.n, of="networks",
                    baseline=Baseline("R² of all together, %", 100 * first.r2)),
        Measurement("change of accuracy for z lower by one", -first.slope, "points", n=first.n, of="networks",
                    spread=first.error if np.isfinite(first.error) else None,
                    spread_name="standard error" if np.isfinite(first.error) else ""),
        Measurement("t with the standard form of z", standard.t, n=standard.n, of="networks"),
        Measurement("t with the coefficient before training", raw.t, n=raw.n, of="networks"),
        Measurement("t with k from other networks", fits[f"{PAPERS}, k from other networks, z paper"].t,
                    n=fits[f"{PAPERS}, k from other networks, z paper"].n, of="networks"),
        Measurement("t within cells, by ranks", fits["z paper, ranks within cells"].t,
                    n=fits["z paper, ranks within cells"].n, of="networks"),
    ]  # fmt: skip
    return Finding("C10", measurements, not_measured=found.short)


def _ranks(a: np.ndarray, b: np.ndarray, groups: list[object]) -> tuple[np.ndarray, np.ndarray]:
    """Ranks within groups, as shares of the group, of the rows in which both are known."""
    from scipy.stats import rankdata

    known = np.isfinite(a) & np.isfinite(b)
    found = np.full((2, len(a)), np.nan)
    labels = np.array(groups, dtype=object)
    for label in dict.fromkeys(groups):
        mine = np.flatnonzero(known & (labels == label))
        for row, values in zip(found, (a, b), strict=True):
            row[mine] = rankdata(values[mine]) / max(len(mine), 1)
    return found[0], found[1]


def _table(fits: dict[str, Slope]) -> Table:
    header = ("regression", "networks", "slope", "t", "p", "R² added, points")
    return Table(
        header,
        [
            (name, str(fit.n), _text(fit.slope), _text(fit.t), _text(fit.p), _text(100 * fit.r2_gained))
            for name, fit in fits.items()
        ],
        "Accuracy (%) against the coefficient under every choice; the first line is the paper's.",
        numbers=range(1, 6),
    )


def _by_problem(found: Cells) -> Table:
    table = []
    for name in dict.fromkeys(cell.problem.name for cell in found):
        mine = _only(found, lambda cell, name=name: cell.problem.name == name)
        base, other = rows(mine), rows(mine, choice="others")
        fit, held = (slope(one.accuracy, one.z("paper"), one.classes) for one in (base, other))
        table.append((name, str(fit.n), _text(fit.slope), _text(fit.t), _text(fit.p), _text(held.t)))
    header = ("problem", "networks", "slope", "t", "p", "t, k from other networks")
    return Table(header, table, "Each problem alone, with width pattern and depth held fixed.", numbers=range(1, 6))


def _only(found: Cells, test: object) -> Cells:
    return Cells(tuple(found.where(test)), found.short)  # type: ignore[arg-type]


def _text(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}".replace("-", "−")


def _figure(base: Rows) -> Figure:
    def paint(figure: object) -> None:
        names = list(dict.fromkeys(base.classes["problem"]))
        panels = figure.subplots(2, 4).ravel()  # type: ignore[attr-defined]
        z, labels = base.z("paper"), np.array(base.classes["problem"], dtype=object)
        colors = dict(zip((5, 11), style.line_colors(2), strict=True))
        for ax, name in zip(panels, names, strict=False):
            for depth, color in colors.items():
                mine = (labels == name) & (base.depth == depth)
                ax.plot(z[mine], base.accuracy[mine], ".", color=color, ms=3, mew=0, alpha=0.7, label=f"{depth} layers")
            ax.set_title(str(name))
            style.frame(ax, open_corner=True)
            ax.tick_params(labelsize=7)
        for ax in panels[len(names) :]:
            ax.set_axis_off()
        handles, words = panels[0].get_legend_handles_labels()
        panels[-1].legend(handles, words, frameon=False, fontsize=8, loc="center", markerscale=2)
        figure.supxlabel("adjusted coefficient z, as printed", fontsize=9)  # type: ignore[attr-defined]
        figure.supylabel("accuracy on the test set, %", fontsize=9)  # type: ignore[attr-defined]

    return Figure(
        "Accuracy against the adjusted coefficient",
        svg.draw_panels(paint, size=(9.2, 4.6), alt="Accuracy against z by problem", name="baptista-accuracy"),
        "Every network used, at its cell's k*. A flow that made networks accurate would give clouds that fall to the "
        "right.",
        size="full",
    )


def permutation_p(t: float, null: np.ndarray) -> float:
    """Two-sided p of a t among those of drawn permutations, itself one of them; NaN without either."""
    if not (math.isfinite(t) and len(null)):
        return math.nan
    return (1 + int((np.abs(null) >= abs(t)).sum())) / (1 + len(null))


LEFT = {
    -1: "More negative coefficients go with higher accuracy, as in the paper",
    0: "Accuracy does not go with the coefficient either way",
    1: "More negative coefficients go with lower accuracy, the reverse of the paper's finding",
}
"""By the side of the paper's regression, |t| above 1.96."""


def _side(t: float) -> int:
    return -1 if t < -1.96 else int(t > 1.96)


def _notes(found: Cells, fits: dict[str, Slope], null: np.ndarray) -> list[str]:
    from scipy.stats import norm

    known = [fit for fit in fits.values() if np.isfinite(fit.t)]
    first, held, raw = (
        fits[f"{PAPERS}, {name}, z paper"] if name != "raw" else fits["before training, k* of the trained, z paper"]
        for name in ("k*", "k from other networks", "raw")
    )
    if not np.isfinite(first.t):
        return ["The regression cannot be made: too few networks have a finite z, or all are as accurate."]
    # Bonferroni: no choice among so many versions makes this of nothing in more than 5 % of cases
    bar = float(norm.isf(0.025 / len(known)))
    down, up = (sum(sign * fit.t > 1.96 for fit in known) for sign in (-1, 1))
    firm = sum(abs(fit.t) > bar for fit in known)
    said = LEFT[_side(first.t)]
    if found.short:
        said = f"These numbers decide nothing, since {found.short}. If they did: {said[0].lower()}{said[1:]}"
    return [
        f"{said}: t = {_text(first.t)} over {first.n:,} networks (p = {_text(first.p)}; "
        f"{_text(permutation_p(first.t, null))} by permutations of z within cells). The coefficient adds "
        f"{_text(100 * first.r2_gained)} points to the R² of {100 * first.r2:.1f} %. With k from other networks t is "
        f"{_text(held.t)}; with the coefficient that the same networks had before training, which cannot be what "
        f"training made, it is {_text(raw.t)}.",
        f"Of {len(known)} versions of the regression that could be made, {down} have t below −1.96 and {up} above "
        f"1.96; the paper reports one. Corrected for their number (Bonferroni: t beyond {bar:.2f}) {firm} are left. "
        "All are in the table. R² added tells how much of the differences in accuracy the coefficient goes along with, "
        "whatever its p.",
    ]
