"""Cutting convex cells that share their corners: what is cut, what is left whole, and what rounding may do."""

import numpy as np
import pytest

from separatrix.local.region_cells import Cells, flat, two_sided

SQUARE = np.array([[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]])


def loops(cells):
    return [cells.loop[flat(cells.start[c : c + 1], cells.count[c : c + 1])].tolist() for c in range(cells.cells)]


def sizes(cells):
    found = []
    for loop in loops(cells):
        x, y = cells.values[:2, loop]
        found.append((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
    return found


def square(*heights):
    """The unit square with numbers at its corners, affine in the place."""
    return Cells(np.concatenate([SQUARE, [a * SQUARE[0] + b * SQUARE[1] + c for a, b, c in heights]]))


def test_ragged_rows():
    assert flat(np.array([5, 0, 9]), np.array([2, 3, 1])).tolist() == [5, 6, 0, 1, 2, 9]
    assert flat(np.array([3]), np.array([0])).tolist() == []


def test_a_cut_makes_two_cells_that_share_two_corners():
    cells = square((1, 0, -0.25), (0, 1, 0))
    whole, above, divided = cells.cut(np.array([0]), 2, 0.0)
    assert len(whole) == len(above) == 0 and divided.tolist() == [0]
    assert cells.corners == 6 and sizes(cells) == [0.25, 0.75] and cells.parent[:2].tolist() == [0, 0]
    below, over = loops(cells)
    assert set(below) & set(over) == {4, 5}
    # all numbers of a new corner are interpolated, and the one that is cut is there exactly
    assert sorted(zip(*cells.values[:, 4:6].tolist(), strict=True)) == [(0.25, 0, 0, 0), (0.25, 1, 0, 1)]
    # neighbours that are cut together share the corner on their edge
    cells.cut(np.array([0, 1]), 3, 0.5)
    assert cells.corners == 9 and sorted(sizes(cells)) == [0.125, 0.125, 0.375, 0.375]


@pytest.mark.parametrize(
    ("height", "at", "is_above"),
    [
        ((1, 0, 0), 0, True),
        ((1, 0, 0), 1, False),
        ((1, 1, 0), 0, True),
        ((0, 0, 2), 2, True),
        ((1, 0, 0), 3, False),
    ],
)
def test_a_kink_along_an_edge_or_through_a_corner_cuts_nothing(height, at, is_above):
    cells = square(height)
    whole, above, divided = cells.cut(np.array([0]), 2, float(at))
    assert whole.tolist() == [0] and above.tolist() == [is_above] and len(divided) == 0 and cells.corners == 4


def test_a_cut_through_two_corners_makes_no_new_ones():
    cells = square((1, -1, 0))
    cells.cut(np.array([0]), 2, 0.0)
    assert cells.corners == 4 and sizes(cells) == [0.5, 0.5] and sorted(map(len, loops(cells))) == [3, 3]


def test_dropped_cells_take_their_corners_with_them():
    cells = square((1, 0, -0.5), (0, 1, -0.5))
    cells.cut(np.array([0]), 2, 0.0)
    cells.cut(np.array([0, 1]), 3, 0.0)
    before = sorted(map(tuple, cells.values[:2, loops(cells)[3]].T.tolist()))
    cells.keep(np.array([3]))
    assert cells.cells == 1 and cells.corners == 4 and sizes(cells) == [0.25]
    assert sorted(map(tuple, cells.values[:2, loops(cells)[0]].T.tolist())) == before


def test_a_loop_that_meets_the_cut_more_than_twice_is_cut_once():
    """By rounding only: then the run around the largest number is above, and the rest below."""
    side = np.array([1, 1, 0, 0, -1, -1, 0], dtype=np.int8)
    z = np.array([2.0, 1.0, 0.0, 0.0, -1.0, -2.0, 0.0])
    assert two_sided(z, side).tolist() == [1, 1, 0, -1, -1, -1, 0]
    # a corner on the cut in the middle of the part above
    side = np.array([0, 1, 0, 1, 1, 0, -1], dtype=np.int8)
    z = np.array([0.0, 1e-9, 0.0, 1.0, 2.0, 0.0, -1.0])
    assert two_sided(z, side).tolist() == [-1, -1, 0, 1, 1, 0, -1]
    for turn in range(7):
        rolled = two_sided(np.roll(z, turn), np.roll(side, turn))
        assert np.roll(rolled, -turn).tolist() == [-1, -1, 0, 1, 1, 0, -1]


def test_such_a_loop_in_a_subdivision_keeps_every_side_paired():
    """A hexagon whose numbers are not quite affine: three corners on the cut, and a neighbour at each side."""
    angle = np.pi * np.arange(6) / 3
    corners = np.stack([np.cos(angle), np.sin(angle)])
    cells = Cells(np.concatenate([corners, [[1.0, 1.0, 0.0, 0.0, -1.0, 0.0]]]))
    cells.cut(np.array([0]), 2, 0.0)
    assert cells.cells == 2 and cells.corners == 6
    assert sum(sizes(cells)) == pytest.approx(1.5 * np.sqrt(3)) and min(sizes(cells)) > 0
    sides = [tuple(pair) for loop in loops(cells) for pair in zip(loop, np.roll(loop, -1).tolist(), strict=True)]
    assert len(set(sides)) == len(sides) == 8
    assert sum((b, a) in sides for a, b in sides) == 2
