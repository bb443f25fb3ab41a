"""Grids and planes."""

import numpy as np
import pytest
import torch

import separatrix as sx


def test_a_grid_is_in_ij_order_with_its_ends():
    g = sx.grid((-1, 1), (0, 3), shape=(3, 4))
    points = g.points()
    assert points.shape == (12, 2) and len(g) == 12
    x, y = np.meshgrid(np.linspace(-1, 1, 3), np.linspace(0, 3, 4), indexing="ij")
    np.testing.assert_array_equal(points, np.stack([x.ravel(), y.ravel()], 1))
    torch.testing.assert_close(g.points(5, 9), points[5:9])


def test_a_plane_through_three_points_contains_them():
    gen = torch.Generator().manual_seed(0)
    p, q, r = torch.randn(3, 1, 4, 5, generator=gen, dtype=torch.float64)
    plane = sx.plane.through(p, q, r, shape=(11, 12), margin=0.2)
    assert plane.points().shape == (132, 1, 4, 5)
    for corner, point in zip(plane.corners, (p, q, r), strict=True):
        torch.testing.assert_close(plane.origin + corner[0] * plane.e1 + corner[1] * plane.e2, point)
        assert plane.x[0] < corner[0] < plane.x[-1] and plane.y[0] < corner[1] < plane.y[-1]
    basis = torch.stack([plane.e1.flatten(), plane.e2.flatten()])
    torch.testing.assert_close(basis @ basis.T, torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: sx.grid((1, -1), (0, 1)), "x"),
        (lambda: sx.grid((0, 1), (0, float("nan"))), "y"),
        (lambda: sx.grid((0, 1), 3), "y"),
        (lambda: sx.grid((0, 1), (0, 1), shape=(1, 5)), "shape"),
        (lambda: sx.plane(torch.zeros(3), torch.ones(3), 2 * torch.ones(3)), "e1, e2"),
        (lambda: sx.plane(torch.zeros(3), torch.ones(2), torch.ones(3)), "e1"),
        (lambda: sx.plane.through(torch.zeros(3), torch.ones(3), 2 * torch.ones(3)), "p, q, r"),
    ],
)
def test_errors_name_the_argument(make, argument, as_user):
    with pytest.raises(sx.ArgumentError) as caught:
        make()
    assert caught.value.argument == argument
