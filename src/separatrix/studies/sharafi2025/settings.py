"""The declared grid of settings, at each scale, and settings of one's own beside it."""

from __future__ import annotations

import tomllib
from typing import Any

from separatrix.results.errors import ArgumentError
from separatrix.studies.study import Context
from separatrix.studies.wording import given

Run = dict[str, Any]

OWN = "sharafi2025.toml"
"""A file of this name in the store's folder adds cells: a table ``[[cell]]`` for each, with any keys of
:data:`DECLARED`."""

DECLARED: Run = {
    "hidden": 3,
    "activation": "tanh",
    "target": "sin(2πx)",
    "optimizer": "gradient descent",
    "rate": 0.2,
    "momentum": 0.9,
    "distribution": "normal",
    "scale": 1.0,
    "points": 30,
    "members": 1000,
    "steps": 20_000,
    "tangent_steps": 1000,
    "record": 25,
    "every": 1,
    "at": (50, 100, 200, 500, 1000),
    "angles": True,
    "null_members": 50,
    "frames": 0,
    "singular_until": 0,
    "seed": 0,
}
"""All settings of a cell. ``points``: N of the regression, equispaced on [-1, 1]; ``record``: steps between recorded
losses, gradients, sharpnesses and exponents; ``every``: steps between factorisations; ``at``: when predictions are
made; ``null_members``: members whose covariant vectors are compared with the nulls; ``frames``: further first frames;
``singular_until``: up to which step the singular-value form is computed too."""

RATES = {"tanh": 0.2, "sigmoid": 0.5, "softplus": 0.1, "relu": 0.1}
SCALES = {"tanh": 1.0, "sigmoid": 2.0, "softplus": 1.0, "relu": 1.0}
SMOOTH = ("tanh", "sigmoid", "softplus")
CONTROL = "relu"

GRID, OPEN, ALIKE, BEYOND = "grid", "one setting changed", "rate and weights alike", "other optimizers"


def base(hidden: int, activation: str, target: str, **changed: Any) -> Run:
    """A cell of the grid: rate and scale by activation, half the rate for ten hidden nodes."""
    rate = RATES[activation] / (2 if hidden >= 10 else 1)
    mine = {"hidden": hidden, "activation": activation, "target": target, "rate": rate, "scale": SCALES[activation]}
    return {**DECLARED, **mine, **changed}


def cells(context: Context) -> dict[str, list[Run]]:
    """Cells by group: the grid, single settings changed, other optimizers, and the reader's own where there are any."""
    if context.quick:
        small: Run = {"members": 80, "steps": 400, "tangent_steps": 100, "at": (50, 100), "null_members": 16}
        found = {
            GRID: [base(h, f, "sin(2πx)", **small) for h, f in ((2, "tanh"), (3, "sigmoid"), (2, "relu"))],
            ALIKE: [base(2, f, "sin(2πx)", rate=0.1, **small) for f in ("tanh", "softplus")],
            BEYOND: [base(2, "tanh", "sin(2πx)", optimizer="heavy ball", rate=0.05, angles=False, **small)],
        }
        found[GRID][0] |= {"frames": 2, "singular_until": 50}
    else:
        found = {GRID: _grid(), OPEN: _open(), ALIKE: _alike(), BEYOND: _beyond()}
    found = {name: [{**run, "seed": context.seed + run["seed"]} for run in runs] for name, runs in found.items()}
    own = _own(context)
    return found | ({"the reader's own": own} if own else {})


def _grid() -> list[Run]:
    """Node counts, activations and targets: 35 cells, 27 of them smooth."""
    sines = [(h, f, t) for h in (2, 3, 5) for f in RATES for t in ("sin(2πx)", "sin(πx)")]
    wide = [(10, f, "sin(2πx)") for f in SMOOTH]
    others = [(3, f, t) for f in RATES for t in ("x²", "step")]
    runs = [base(*cell) for cell in (*sines, *wide, *others)]
    for run in runs:
        run |= {"singular_until": 200} if run["hidden"] == 2 else {}
        run |= (
            {"frames": 2} if (run["hidden"], run["target"]) == (3, "sin(2πx)") and run["activation"] in SMOOTH else {}
        )
    runs[0] |= {"frames": 4, "singular_until": 1000}
    return runs


def _open() -> list[Run]:
    """Two cells with one setting changed at a time: the scale and kind of the initial weights, and the rate."""
    tanh: list[Run] = [{"scale": 0.5}, {"scale": 2.0}, {"distribution": "uniform"}, {"distribution": "glorot"},
            {"rate": 0.8}]  # fmt: skip
    sigmoid: list[Run] = [{"scale": 1.0}, {"scale": 4.0}, {"rate": 1.0}]
    return [base(3, "tanh", "sin(2πx)", **change) for change in tanh] + [
        base(3, "sigmoid", "sin(πx)", **change) for change in sigmoid
    ]


def _alike() -> list[Run]:
    """Cells in which nothing but the activation differs, together with those of the grid with softplus."""
    places = ((3, "sin(2πx)"), (3, "sin(πx)"), (5, "sin(2πx)"))
    return [base(h, f, t, rate=RATES["softplus"], scale=SCALES["softplus"]) for h, t in places for f in SMOOTH[:2]]


def _beyond() -> list[Run]:
    """Heavy ball and Adam; a state then has two or three parts, and vectors mix their units, so no angles."""
    heavy: Run = {"optimizer": "heavy ball", "rate": 0.05, "angles": False}
    adam: Run = {"optimizer": "Adam", "rate": 0.01, "angles": False}
    two = ((2, "tanh", "sin(2πx)"), (3, "sigmoid", "sin(πx)"))
    return [base(*cell, **change) for change in (heavy, adam) for cell in two]


def _own(context: Context) -> list[Run]:
    """Cells of the reader's file.

    Raises
    ------
    ArgumentError
        If the file cannot be read, or holds other settings, or steps that do not fit together.
    """
    path = context.store / OWN
    if not path.exists():
        return []
    try:
        tables = tomllib.loads(path.read_text("utf-8"))["cell"]
        mine = [dict(one) for one in tables]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentError("store", f"{path} ({error})", "write a table [[cell]] for each cell") from error
    unknown = sorted({name for one in mine for name in one if name not in DECLARED})
    if unknown:
        raise ArgumentError("store", f"{path} with {', '.join(unknown)}", f"choose from {', '.join(DECLARED)}")
    runs = [DECLARED | {name: tuple(v) if isinstance(v, list) else v for name, v in one.items()} for one in mine]
    kinds = {name: (int, float) if isinstance(v, float) else type(v) for name, v in DECLARED.items()}
    wrong = sorted({name for run in runs for name, v in run.items() if not isinstance(v, kinds[name])})
    if wrong:
        raise ArgumentError("store", f"{path} with {', '.join(wrong)} of another kind", f"values as in {DECLARED}")
    for run in runs:
        check(run)
    return runs


def check(run: Run) -> None:
    """Raise an ArgumentError unless the steps of a cell fit together."""
    at, every, record = run["at"], run["every"], run["record"]
    last = run["tangent_steps"]
    rules = {
        "at": (at and all(t % (2 * record) == 0 and 4 * every <= t <= last for t in at) and list(at) == sorted(set(at)),
               "rising steps, multiples of 2 record, not beyond tangent_steps"),
        "record": (record % every == 0 and last % record == 0, "a multiple of every that divides tangent_steps"),
        "steps": (run["steps"] >= 2 * last, "twice tangent_steps or more: the loss at half time is shown"),
        "members": (run["members"] >= 16, "16 or more: half of them explore"),
        "singular_until": (run["singular_until"] in (0, *at), "0, or one of the steps of at"),
    }  # fmt: skip
    for name, (fine, remedy) in rules.items():
        if not fine:
            raise ArgumentError(name, repr(run[name]), remedy)


def name_of(run: Run) -> str:
    """Name of a cell in tables: what differs from the cell of the grid with these nodes, activation and target."""
    text = f"{run['activation']} {run['hidden']}, {run['target']}"
    plain = base(run["hidden"], run["activation"], run["target"]) if run["activation"] in RATES else DECLARED
    if run["optimizer"] != "gradient descent":
        return f"{text}, {run['optimizer']}"
    changed = [
        f"{short} {run[key] if isinstance(run[key], str) else given(run[key])}"
        for key, short in _SHORT.items()
        if run[key] != plain[key]
    ]
    return ", ".join([text, *changed])


_SHORT = {"rate": "η", "scale": "s", "distribution": "weights", "points": "N"}


def cost(run: Run) -> float:
    """Core-seconds of a run, roughly, by what steps took in a short test: 1,000 members of P weights each."""
    parts = {"gradient descent": 1, "heavy ball": 2, "Adam": 3}[run["optimizer"]]
    weights = 3 * run["hidden"] + 1
    size = weights * parts
    tangents = (1 + run["frames"]) * (4.0 + 0.2 * size + 0.09 * size**2) * run["tangent_steps"]
    plain = (0.5 + 0.11 * weights) * (run["steps"] - run["tangent_steps"])
    return 1e-6 * run["members"] * (tangents + plain + SINGULAR * run["singular_until"])


SINGULAR = 15.0
"""Microseconds of one member and step of the singular-value form."""
