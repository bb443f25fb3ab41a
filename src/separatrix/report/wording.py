"""Numbers of the depth section, put into words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from separatrix.figures import reading
from separatrix.report.document import Table
from separatrix.results.status import Status

if TYPE_CHECKING:
    import xarray as xr

LEAD = [
    "A small change of the input is carried from layer to layer. Its stretch at a layer is ln σ₁ of the Jacobian "
    "there: the logarithm of the factor by which the most amplified direction has grown. Divided by the number of "
    "layers it is the finite-time Lyapunov exponent λ₁. Where it is positive, nearby inputs are told apart; where it "
    "is negative, their difference is being forgotten.",
]

PROVED = [
    "Each number is a singular value of the derivative that the chain rule gives at that point, exact up to rounding; "
    "nothing is estimated by differences, except in the self-check. Whether a layer is a cut is read off the graph of "
    "the computation, for the inputs that were run.",
]
MEASURED = [
    "Everything else is a measurement at the points shown. A derivative speaks of infinitely small changes only. "
    "Between the nodes of a field and away from the sample nothing is known, and the largest value that was seen is an "
    "estimate from below. Where the page does not say that something is proved, no number on it is a bound, and a "
    "bright ridge is not a proof that the answer changes there.",
]

MEANINGS = {
    "ok": "the number means what its name says",
    "not_a_cut": "another path leads around the layer",
    "below_precision": "smaller than the arithmetic resolves beside the largest one",
    "singular": "the singular value is exactly zero",
    "missing": "the layer has fewer singular values",
    "nonsmooth": "on a kink: a one-sided derivative",
    "nonfinite": "the model gave NaN or infinity",
    "unconverged": "an iteration ended early: an estimate",
}


def leading(ds: xr.Dataset, layer: str, what: str = "exponent") -> np.ndarray:
    """Largest exponent or stretch of a layer at all points, NaN where status forbids it."""
    one = ds.isel(member=0, index=0).sel(layer=layer)
    values = np.array(one[what].values, dtype=float)
    for mask in reading.forbidden(one).values():
        values[mask] = np.nan
    return values


def findings(ds: xr.Dataset, layer: str, misses: Tensor | None) -> tuple[list[tuple[str, str]], list[str]]:
    """Facts and sentences on the exponents at test points."""
    found = leading(ds, layer)
    values = found[np.isfinite(found)]
    name = reading.short(layer, [str(v) for v in ds["layer"].values])
    if not values.size:
        return [], [f"At {name} no test point has an exponent that may be shown; the statuses below say why."]
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    facts = [
        (f"median λ₁ at {name}", f"{_signed(middle)} /layer"),
        ("test points where differences grow", f"{100 * (values > 0).mean():.0f} %"),
    ]
    text = [
        f"At {name} the median of λ₁ over {values.size:,} test points is {_signed(middle)} per layer; eight in ten lie "
        f"between {_signed(low)} and {_signed(high)}."
    ]
    if misses is not None:
        bad, good = found[misses.numpy()], found[~misses.numpy()]
        bad, good = bad[np.isfinite(bad)], good[np.isfinite(good)]
        if len(bad) >= 5 and len(good) >= 5:
            text.append(
                f"The {len(bad)} points that are put into the wrong class have a median of {_signed(np.median(bad))}, "
                f"the others of {_signed(np.median(good))}."
            )
    return facts, text


def along_boundary(ds: xr.Dataset, layer: str, margins: np.ndarray | None) -> list[str]:
    """Compare the stretch at nodes beside a change of the answer with the rest of the field."""
    if margins is None:
        return []
    answer = margins.argmax(axis=2)
    edge = np.zeros(answer.shape, dtype=bool)
    for axis in (0, 1):
        change = np.diff(answer, axis=axis) != 0
        edge |= np.pad(change, [(0, int(a == axis)) for a in (0, 1)])
        edge |= np.pad(change, [(int(a == axis), 0) for a in (0, 1)])
    values = leading(ds, layer, "stretch")
    on, off = values[edge & np.isfinite(values)], values[~edge & np.isfinite(values)]
    if len(on) < 20 or len(off) < 20:
        return []
    above = (on[:, None] > np.random.default_rng(0).choice(off, 500)[None, :]).mean()
    return [
        f"Where the answer changes, the median stretch is {_signed(np.median(on))} nat, elsewhere "
        f"{_signed(np.median(off))}. A node on the boundary has the larger stretch of a random pair in "
        f"{100 * above:.0f} % of cases (50 % would mean no connection)."
    ]


def self_check(named: dict[str, xr.Dataset], *, kinked: bool = False) -> list[str]:
    """What the central differences said, in words; ``kinked`` networks have a reason of their own for deviations."""
    text = []
    for name, ds in named.items():
        count, worst = int(ds.attrs.get("verify_points", 0)), float(ds.attrs.get("verify_worst", np.nan))
        if not count:
            text.append(f"{name}: no check was made, because none was asked for or no point is smooth at every layer.")
            continue
        sentence = (
            f"{name}: at {count} random points, and at every layer, the leading stretch was measured again in float64 "
            f"by central differences along v₁. The largest deviation is {worst:.1e} nat"
        )
        if worst < (1e-6 if ds.attrs.get("precision") == "float64" else 1e-3):
            sentence += ", as small as rounding makes it."
        elif kinked:
            sentence += (
                ". That is more than rounding explains. The network has kinks, and a difference across one would do "
                "this: check at other points, with another seed, before you trust these numbers."
            )
        else:
            sentence += ". That is more than rounding explains: find out why before you trust these numbers."
        text.append(sentence)
    return text


def statuses(named: dict[str, xr.Dataset]) -> Table:
    """How many numbers have which status."""
    rows = []
    for name, ds in named.items():
        values = ds["status"].values
        for status in Status:
            count = int((values == status.value).sum())
            if count:
                word = status.name.lower()
                share = f"{100 * count / values.size:.3g} %"
                rows.append([name, word.replace("_", " "), f"{count:,}", share, MEANINGS[word]])
    return Table(["result", "status", "numbers", "share", "meaning"], rows, numbers=(2, 3))


def _signed(value: float | np.floating) -> str:
    return f"{value:+.2f}".replace("-", "−")


def shape_text(shape: tuple[int, ...]) -> str:
    """Shape in words."""
    return "×".join(map(str, shape)) or "scalar"
