"""Where names go beside marks: where they cover no other name and no mark, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from separatrix.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

_SIDES = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
"""Sides of a mark in the order in which they are tried."""
_AWAY = 4.0
"""Points from the middle of a mark to its name along each axis, more straight to a side."""
_ROOM = 1.0
"""Points that are left free around a name."""


def name_marks(
    ax: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str], order: Sequence[int], *, size: float
) -> None:
    """Write names beside marks, each on a side where it covers nothing; one that finds none is left out.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        With all marks drawn and its limits, labels and title set: the figure is laid out once, to measure.
    x, y : ndarray, shape (marks,)
        A mark that is not finite has no name.
    names : sequence of str
    order : sequence of int
        Which marks are named, those first that matter most.
    size : float
        Diameter of a mark, in points.
    """
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()
    points = figure.dpi / 72
    marks = ax.transData.transform(np.stack([x, y], 1))
    marks = np.concatenate([marks - size / 2 * points, marks + size / 2 * points], 1)
    finite = np.isfinite(marks).all(1)
    texts = {i: _text(ax, x[i], y[i], names[i]) for i in sorted(order) if finite[i]}
    taken = marks[finite]
    inside = np.asarray(ax.bbox.padded(_AWAY * points).extents)
    for i in (i for i in order if i in texts):
        for side in _SIDES:
            _put(texts[i], side, size)
            box = np.asarray(texts[i].get_window_extent().padded(_ROOM * points).extents)
            within = (box[:2] >= inside[:2]).all() and (box[2:] <= inside[2:]).all()
            apart = (box[2:] <= taken[:, :2]).any(1) | (box[:2] >= taken[:, 2:]).any(1)
            if within and apart.all():
                taken = np.concatenate([taken, box[None]])
                break
        else:
            texts[i].remove()


def _text(ax: Axes, x: float, y: float, name: str) -> Text:
    return ax.annotate(name, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=7.5, color=style.QUIET)


def _put(text: Text, side: tuple[int, int], size: float) -> None:
    away = _AWAY if all(side) else size / 2 + 2 * _ROOM
    text.set_position((side[0] * away, side[1] * away))
    text.set(ha=("center", "left", "right")[side[0]], va=("center_baseline", "bottom", "top")[side[1]])
