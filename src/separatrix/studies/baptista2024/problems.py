"""The seven problems of the paper: data, thresholds of accuracy, and the numbers of neighbours looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from separatrix.data import load
from separatrix.data.entangled import crossing_sheets, pierced_box, rolled_sheets

if TYPE_CHECKING:
    from separatrix.data.record import Problem
    from separatrix.studies.study import Context

SYNTHETIC_K = (6, 7, 9, 10, 15, 18, 20, 30, 50, 90, 100, 120, 140, 150, 160, 180, 200)
IMAGE_K = (10, 20, 30, 50, 90, 100, 120, 150, 250, 350, 500)


@dataclass(frozen=True)
class Setting:
    """One of the seven problems.

    Attributes
    ----------
    name, title : str
        Its name in tables, and what it is.
    data : str
        Data set that holds it; empty where it is generated.
    classes : (int, int)
        The two classes of the data set, which become 0 and 1.
    threshold : float
        A network is near-perfect if its accuracy on the test set is above.
    ks : tuple of int
        Numbers of neighbours, those of the paper.
    used : float
        Threshold above which networks are used here: the paper's, and 98 % for MNIST, whose training side is a sixth of
        the paper's here.
    """

    name: str
    title: str
    data: str
    classes: tuple[int, int]
    threshold: float
    ks: tuple[int, ...]
    used: float

    @property
    def image(self) -> bool:
        """Whether its inputs are images."""
        return bool(self.data)


PROBLEMS = {
    one.name: one
    for one in (
        Setting("A", "rolled sheets, entangled", "", (0, 1), 0.99, SYNTHETIC_K, 0.99),
        Setting("B", "pierced box, linked", "", (0, 1), 0.99, SYNTHETIC_K, 0.99),
        Setting("C", "crossing sheets, not separable", "", (0, 1), 0.91, SYNTHETIC_K, 0.91),
        Setting("1v7", "MNIST 1 against 7", "mnist", (1, 7), 0.99, IMAGE_K, 0.98),
        Setting("6v8", "MNIST 6 against 8", "mnist", (6, 8), 0.99, IMAGE_K, 0.98),
        Setting("sandal/boot", "Fashion-MNIST sandal against ankle boot", "fashion-mnist", (5, 9), 0.98, IMAGE_K, 0.98),
        Setting("shirt/coat", "Fashion-MNIST shirt against coat", "fashion-mnist", (6, 4), 0.90, IMAGE_K, 0.90),
    )
}

_GENERATORS = {"A": rolled_sheets, "B": pierced_box, "C": crossing_sheets}


def problem(name: str, *, seed: int = 0, train: int = 0, test: int = 0) -> Problem:
    """Data of a problem: class numbers 0 and 1; images in [0, 1], in the order of their files.

    Parameters
    ----------
    name : str
        One of :data:`PROBLEMS`.
    seed : int
        Of the generated problems.
    train, test : int
        Points to keep of each set, the first ones; 0 keeps all (1,000 of the generated problems).
    """
    setting = PROBLEMS[name]
    if not setting.image:
        return _GENERATORS[name](train or 1000, test or 1000, seed=seed)
    whole = _loaded(setting.data)
    assert whole.y_train is not None and whole.y_test is not None
    found = []
    for X, y, count in ((whole.X_train, whole.y_train, train), (whole.X_test, whole.y_test, test)):
        rows = ((y == setting.classes[0]) | (y == setting.classes[1])).nonzero()[:, 0][: count or None]
        found += [X[rows], (y[rows] == setting.classes[1]).long()]
    names = tuple(whole.classes[c] for c in setting.classes)
    return replace(
        whole,
        name=name,
        description=f"{setting.title}: {len(found[0]):,} training and {len(found[2]):,} test images",
        X_train=found[0],
        y_train=found[1],
        X_test=found[2],
        y_test=found[3],
        classes=names,
    )


@lru_cache(maxsize=1)
def _loaded(data: str) -> Problem:
    return load(data)


def available(context: Context) -> tuple[tuple[str, ...], str]:
    """Problems whose data are on this machine, and a sentence on what is missing (empty if nothing is)."""
    from separatrix.studies.study import MissingData

    missing = {}
    for data in sorted({one.data for one in PROBLEMS.values() if one.data}):
        try:
            context.data(data)
        except MissingData as error:
            missing[data] = str(error)
    names = tuple(name for name, one in PROBLEMS.items() if one.data not in missing)
    return names, "; ".join(missing.values())
