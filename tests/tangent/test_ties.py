"""Ties among entries of which one is selected: kinks exactly where changes of the value do not add up."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix import Status
from separatrix.systems.guest import Guest
from separatrix.tangent.kinks import on_kink

DOUBLE = torch.float64


def of_argmax(x):
    return (x * x).gather(1, x.argmax(1, keepdim=True))


SELECTIONS = {
    "max(dim)": lambda x: x.max(1).values,
    "max(dim, keepdim)": lambda x: torch.max(x, dim=-1, keepdim=True)[0],
    "min(axis)": lambda x: torch.min(x, axis=1).values,
    "amax": lambda x: x.amax(1),
    "amax, two dims": lambda x: x.unflatten(1, (2, 3)).amax((1, -1)),
    "amax, inner dim": lambda x: x.unflatten(1, (2, 3)).amax(1),
    "amin": lambda x: torch.amin(x, dim=1),
    "aminmax": lambda x: torch.cat(torch.aminmax(x, dim=1, keepdim=True), 1),
    "argmax": of_argmax,
    "median": lambda x: x.median(1).values,
    "kthvalue": lambda x: torch.kthvalue(x, 2, dim=1).values,
    "sort": lambda x: x.sort(1).values,
    "sort, inner dim": lambda x: torch.sort(x.unflatten(1, (2, 3)), dim=1, descending=True).values,
    "argsort": lambda x: x.gather(1, x.argsort(1)),
    "topk": lambda x: x.topk(2).values,
    "topk of one": lambda x: torch.topk(x, 1, dim=1)[0],
    "smallest": lambda x: x.topk(2, largest=False).values,
    "maximum of a constant and x": lambda x: torch.maximum(torch.zeros(6, dtype=DOUBLE), x),
}
POOLS = {
    "1d": (nn.MaxPool1d(2), (2, 5)),
    "1d, dilated": (nn.MaxPool1d(2, stride=1, dilation=3), (1, 6)),
    "1d, padded, ceil": (nn.MaxPool1d(3, 2, padding=1, ceil_mode=True), (1, 6)),
    "1d, the last entry left out": (nn.MaxPool1d(3, 2), (1, 6)),
    "2d, the last row left out": (nn.MaxPool2d((3, 1), 2), (1, 6, 2)),
    "2d, without channels": (nn.MaxPool2d(2), (4, 2)),
    "3d": (nn.MaxPool3d(2), (1, 2, 2, 4)),
    "3d, indices": (nn.MaxPool3d(2, 1, return_indices=True), (1, 2, 3, 2)),
    "3d, padded": (nn.MaxPool3d((1, 3, 2), stride=(1, 2, 1), padding=(0, 1, 1)), (1, 2, 3, 2)),
    "3d, function": (lambda x: F.max_pool3d(x, 2), (1, 2, 2, 2)),
    "adaptive 1d": (nn.AdaptiveMaxPool1d(3), (1, 7)),
    "adaptive 2d": (nn.AdaptiveMaxPool2d((2, None)), (1, 5, 2)),
    "adaptive 2d, whole": (nn.AdaptiveMaxPool2d(1), (1, 2, 3)),
    "adaptive 3d": (nn.AdaptiveMaxPool3d((1, 2, 1)), (1, 2, 3, 2)),
}


def pooled(pool, shape):
    def model(x):
        value = pool(x.unflatten(1, shape))
        return (value[0] if isinstance(value, tuple) else value).flatten(1)

    return model


def flattened(select):
    return lambda x: select(x).reshape(len(x), -1)


CASES = {name: (flattened(f), 6) for name, f in SELECTIONS.items()} | {
    name: (pooled(pool, shape), torch.Size(shape).numel()) for name, (pool, shape) in POOLS.items()
}


@pytest.mark.parametrize("name", CASES)
def test_a_kink_is_where_changes_do_not_add_up(name):
    model, n = CASES[name]
    gen = torch.Generator().manual_seed(0)
    # whole numbers, so that about every other point has a tie that counts
    x = torch.randint(-n, n, (60, n), generator=gen).double()
    first, *others = 1e-6 * torch.randn(10, 60, n, generator=gen, dtype=DOUBLE)

    def change(push):
        return model(x + push) - model(x)

    broken = (change(p) + change(q) - change(p + q) for p, q in product([first], [-first, *others]))
    kinked = sum((part.abs().reshape(60, -1) > 1e-9).any(1).int() for part in broken) > 0
    assert 3 < kinked.sum() < 57
    found = sx.ftle(model, x)
    assert (torch.from_numpy(found.status.values.ravel() == Status.NONSMOOTH) == kinked).all()
    # where no tangent is known, every component counts as moved, as here every component is
    guest = Guest(model, dtype=DOUBLE)
    with guest.visit():
        assert (on_kink(guest, x, ["output"], moving=False)["output"] == kinked).all()


@pytest.mark.parametrize("select", [lambda x: x.amax(1, True), lambda x: x.sort(1).values, lambda x: x.topk(3).values])
def test_ties_that_nothing_parts_are_no_kinks(select):
    x = torch.tensor([[3.0, 1.0, 2.0], [2.0, 1.0, 2.0]], dtype=DOUBLE)
    parted = sx.ftle(select, x)
    assert parted.status.values.ravel().tolist() == [Status.OK, Status.NONSMOOTH]
    doubled = sx.ftle(lambda x: select(torch.cat([x[:, :1], x[:, :1]], 1).repeat(1, 2)) + x.sum(1, keepdim=True), x)
    assert (doubled.status == Status.OK).all()
    still = sx.ftle(lambda x: select(torch.zeros_like(x)) + x.sum(1, keepdim=True), x)
    assert (still.status == Status.OK).all()
    masked = sx.ftle(lambda x: select(x.masked_fill(x < 5, -torch.inf).exp()) + x.sum(1, keepdim=True), x)
    assert (masked.status == Status.OK).all()


@pytest.mark.parametrize("method", ["reverse", "forward", "lanczos", "loop"])
def test_every_route_tells_layers_before_a_tie_from_those_behind(method):
    class Pointwise(nn.Module):
        """The shape of PointNet: features of each point, and their maximum."""

        def __init__(self):
            super().__init__()
            self.features, self.head = nn.Linear(2, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.head(torch.tanh(self.features(x)).max(1).values)

    torch.manual_seed(0)
    model = Pointwise().double()
    x = torch.randn(3, 5, 2, dtype=DOUBLE)
    leads = torch.tanh(model.features(x[1])).argmax(0)
    x[1, (leads[0] + 1) % 5] = x[1, leads[0]]  # two points that coincide, and are moved apart
    status = sx.ftle(model, x, layers=["features", "output"], method=method, k=2).status[0, :, :, 0].values
    assert status.tolist() == [[Status.OK] * 3, [Status.OK, Status.NONSMOOTH, Status.OK]]


def test_a_maximum_that_is_cancelled_changes_no_route_and_ties_alone_are_marked():
    def softmax(x):
        z = (x - x.amax(1, keepdim=True)).exp()
        return z / z.sum(1, keepdim=True)

    x = torch.tensor([[0.3, 0.1, 0.2], [0.4, 0.4, 0.1], [0.4, 0.1, 0.1]], dtype=DOUBLE)
    found, smooth = (sx.ftle(f, x) for f in (softmax, lambda x: x.softmax(1)))
    assert found.method == smooth.method
    torch.testing.assert_close(torch.tensor(found.stretch.values), torch.tensor(smooth.stretch.values))
    assert found.status.values.ravel().tolist() == [Status.OK, Status.NONSMOOTH, Status.OK]
