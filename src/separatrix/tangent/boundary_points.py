"""The points of a boundary's lines: brought onto the exact set, freed of doubles, and turned the same way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from separatrix.tangent.inputs import Plane
from separatrix.tangent.label_lines import Line, Vertices
from separatrix.tangent.outputs import Outputs
from separatrix.tangent.refine import to_triple_point, to_zero

_CLOSE = 0.1
"""Points of a line that are closer than this share of a cell are one: in between, rounding may have turned them."""

_APART = 2.0
"""A gap of more cells, left by points that were dropped, parts a line."""


@dataclass(frozen=True)
class PlaneLines:
    """Lines through points of a plane; positions and gradients in the plane's coordinates."""

    grid: Plane
    vertices: Vertices
    position: Tensor
    lines: list[np.ndarray]
    closed: list[bool]
    pairs: list[tuple[int, int]]
    value: Tensor = field(default_factory=lambda: torch.empty(0))
    gradient: Tensor = field(default_factory=lambda: torch.empty(0, 2))
    solved: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    dropped: int = 0

    @property
    def cell(self) -> Tensor:
        """Size of a cell along both axes."""
        return _cell(self.grid)


def _cell(grid: Plane) -> Tensor:
    return torch.stack([(v[-1] - v[0]) / (len(v) - 1) for v in (grid.x, grid.y)])


def _corner(grid: Plane) -> Tensor:
    return torch.stack([grid.x[0], grid.y[0]])


def on_plane(vertices: Vertices, lines: list[Line], grid: Plane) -> PlaneLines:
    """Lines of a grid's cells, taken to the coordinates of the plane."""
    # the order of the walk is by edge number; pairs first, long lines first
    order = sorted(lines, key=lambda line: (*vertices.pair[line.points[0]].tolist(), -len(line.points)))
    position = _corner(grid) + torch.from_numpy(vertices.position) * _cell(grid)
    pairs = [tuple(vertices.pair[line.points[0]].tolist()) for line in order]
    return PlaneLines(grid, vertices, position, [line.points for line in order], [line.closed for line in order], pairs)


def on_the_exact_set(rough: PlaneLines, outputs: Outputs, budget: int, *, refine: bool) -> PlaneLines:
    """Refine the points, evaluate the model there, drop what does not belong, and number the points line by line."""
    on = _OnPlane(rough, outputs, outputs.chunk(budget, gradient=True))
    position, solved = rough.position, torch.zeros(len(rough.position), dtype=torch.bool)
    if refine and len(position):
        position, solved = _refined(rough, on)
    values, f, g = on.all(position)
    keep = _on_top(values, torch.from_numpy(rough.vertices.pair), torch.from_numpy(rough.vertices.third))
    lines, closed, pairs = [], [], []
    scaled = (position / rough.cell).numpy()
    for index, ring, pair in zip(rough.lines, rough.closed, rough.pairs, strict=True):
        for part, still in _thinned(index, ring, scaled, keep.numpy(), rough.vertices.third >= 0):
            lines.append(_first_class_left(part, position.numpy(), g.numpy()))
            closed.append(still)
            pairs.append(pair)
    flat = torch.from_numpy(np.concatenate([*lines, np.zeros(0, dtype=np.int64)]).astype(np.int64))
    return replace(
        rough,
        position=position[flat],
        lines=lines,
        closed=closed,
        pairs=pairs,
        value=f[flat],
        gradient=g[flat],
        solved=solved[flat],
        dropped=len(position) - len(flat),
    )


class _OnPlane:
    """The model's outputs as functions of the plane's coordinates, chunk by chunk."""

    def __init__(self, rough: PlaneLines, outputs: Outputs, chunk: int) -> None:
        self.rough, self.outputs, self.chunk = rough, outputs, chunk
        self.grid = rough.grid
        self.basis = torch.stack([self.grid.e1.flatten(), self.grid.e2.flatten()])
        self.pair = torch.from_numpy(rough.vertices.pair)

    def _at(self, position: Tensor, pair: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = [], [], []  # type: tuple[list[Tensor], list[Tensor], list[Tensor]]
        for p, chosen in zip(position.split(self.chunk), pair.split(self.chunk), strict=True):
            x = self.grid.origin + (p @ self.basis).reshape(-1, *self.grid.origin.shape)
            values, f, g = self.outputs.difference(x, chosen)
            for part, found in zip(parts, (values, f, g.flatten(1) @ self.basis.T), strict=True):
                part.append(found)
        values, f, g = (torch.cat(part) for part in parts)
        return values, f, g

    def all(self, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values, difference and gradient at every vertex."""
        if not len(position):
            nothing = position.new_empty(0)
            return position.new_empty(0, self.outputs.columns), nothing, position
        return self._at(position, self.pair)

    def in_cells(self, position: Tensor, which: Tensor, pair: Tensor) -> tuple[Tensor, Tensor]:
        """Difference and gradient where lengths are counted in cells."""
        cell = self.rough.cell
        _, f, g = self._at(_corner(self.grid) + position * cell, pair[which])
        return f, g * cell


def _refined(rough: PlaneLines, on: _OnPlane) -> tuple[Tensor, Tensor]:
    vertices, shape = rough.vertices, np.array(rough.grid.shape)
    start, ends = torch.from_numpy(vertices.position).clone(), torch.from_numpy(vertices.ends)
    # an edge of the box holds the points on it, so that lines end on the box
    on_border = (ends == 0).all(1) | (ends == torch.from_numpy(shape - 1)).all(1)
    solved = torch.zeros(len(start), dtype=torch.bool)
    # a step of 4e-10 cells in double precision
    precise = torch.finfo(on.outputs.guest.dtype or torch.float64).eps ** 0.6
    edge = torch.from_numpy(np.flatnonzero(vertices.third < 0))
    if len(edge):
        start[edge], solved[edge] = to_zero(
            lambda p, which: on.in_cells(p, edge[which], on.pair),
            start[edge],
            1.0 - on_border[edge].double(),
            ends[edge],
            precise,
        )
    triple = torch.from_numpy(np.flatnonzero(vertices.third >= 0))
    if len(triple):
        # the same two differences for the three lines that end there, so that they end at the same number
        three = torch.cat([on.pair, torch.from_numpy(vertices.third)[:, None]], dim=1).sort(dim=1).values

        def both(p: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
            found = [on.in_cells(p, triple[which], three[:, pick]) for pick in ([0, 1], [0, 2])]
            return torch.stack([f for f, _ in found], 1), torch.stack([g for _, g in found], 1)

        found, met = to_triple_point(both, start[triple], precise)
        met &= ((found >= 0) & (found <= torch.from_numpy(shape - 1))).all(1)
        start[triple] = torch.where(met[:, None], found, start[triple])
        solved[triple] = met
    return _corner(rough.grid) + start * rough.cell, solved


def _on_top(values: Tensor, pair: Tensor, third: Tensor) -> Tensor:
    """Whether no class outside of the pair (and the third at a triple point) is larger than both."""
    if values.shape[1] <= 2 or not len(values):
        return torch.ones(len(values), dtype=torch.bool)
    own = torch.cat([pair, torch.where(third >= 0, third, pair[:, 0])[:, None]], dim=1)
    best = values.gather(1, pair).amax(1)
    others = values.scatter(1, own, -torch.inf).amax(1)
    return ~(others > best)


def _thinned(
    index: np.ndarray, closed: bool, place: np.ndarray, keep: np.ndarray, special: np.ndarray
) -> list[tuple[np.ndarray, bool]]:
    """A line without points that do not belong or nearly coincide; in parts where what is left out is a gap."""
    left = index[keep[index]]
    parts: list[list[int]] = []
    for i in left.tolist():
        if not parts:
            parts.append([i])
            continue
        distance = np.hypot(*(place[i] - place[parts[-1][-1]]))
        # the tip of a narrow region may be far from the last point that the grid saw
        if distance > _APART and not (special[i] or special[parts[-1][-1]]):
            parts.append([i])
        elif distance > _CLOSE:
            parts[-1].append(i)
        elif special[i] or (not closed and i == left[-1]):
            # the end of a line stays, and what is too close to it goes
            parts[-1][-1] = i
    found = []
    for part in parts:
        ring = closed and len(parts) == 1 and bool(np.hypot(*(place[part[0]] - place[part[-1]])) <= _APART)
        while ring and len(part) > 2 and np.hypot(*(place[part[0]] - place[part[-1]])) <= _CLOSE:
            part = part[:-1]
        ends = place[[part[0], part[-1]]]
        # one line of a pair leaves a triple point: one that comes back belongs to a point that the grid saw twice
        back = not ring and special[[part[0], part[-1]]].all() and np.hypot(*(ends[1] - ends[0])) <= _CLOSE
        if len(part) > (2 if ring else 1) and not back:
            found.append((np.array(part), ring))
    return found


def _first_class_left(index: np.ndarray, position: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The line in the direction that has the larger first value on its left."""
    along = np.gradient(position[index], axis=0)
    g = gradient[index]
    turn = np.nansum(along[:, 0] * g[:, 1] - along[:, 1] * g[:, 0])
    return index[::-1] if turn < 0 else index
