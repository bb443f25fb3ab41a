"""The fields of a stack, computed together, are those of its members, computed one by one."""

from __future__ import annotations

import copy
import math
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import separatrix as sx
from separatrix.ensembles import Stack, make_members
from separatrix.results.status import Status


def mlp(*widths: int, act: Callable[[], nn.Module] = nn.Tanh, bias: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n, m in pairwise(widths):
        layers += [nn.Linear(n, m, bias=bias), act()]
    return nn.Sequential(*layers[:-1])


def whole_numbers(*widths: int) -> nn.Sequential:
    """Weights for which float32 computes without rounding, so that points lie on kinks, and units are dead."""
    model = mlp(*widths, act=nn.ReLU)
    for p in model.parameters():
        p.data = torch.randint(-2, 3, p.shape).float()
    return model


def normalised() -> nn.Sequential:
    model = nn.Sequential(nn.BatchNorm1d(2), *mlp(2, 6), nn.BatchNorm1d(6, affine=False), nn.Tanh(), nn.Linear(6, 2))
    for part in (model[0], model[2]):
        part.running_mean = torch.randn(part.num_features)
        part.running_var = torch.rand(part.num_features) + 0.5
    nn.init.normal_(model[0].weight), nn.init.normal_(model[0].bias)
    return model.eval()


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, x):
        return self.b(F.leaky_relu(F.silu(self.a(x.flatten(1))), negative_slope=0.3))


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 6), nn.Linear(6, 6)

    def forward(self, x):
        h = torch.tanh(self.a(x))
        return h + torch.sin(self.b(h))


def narrowing_skip() -> nn.Module:
    """No plain chain, whose second singular value float32 cannot tell from rounding."""
    model = Skip()
    model.a.weight.data[:, 1] = 1e-9 * model.a.weight.data[:, 1]
    return model


class Case(NamedTuple):
    factory: Callable[[], nn.Module]
    where: Any
    options: dict[str, Any]
    method: str = "chain-forward"
    dtype: torch.dtype = torch.float64


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


COMPUTED = nn.Sequential(weight_norm(nn.Linear(2, 4)), nn.Tanh(), nn.Linear(4, 2))


def computed_weights() -> nn.Module:
    """Weights that are computed from others. Copies, since only those have layers of one class."""
    model = copy.deepcopy(COMPUTED)
    for p in model.parameters():
        nn.init.normal_(p)
    return model


GRID, WHOLE = sx.grid((-1, 1), (-1.5, 1.5), shape=(7, 6)), sx.grid((-2, 2), (-2, 2), shape=5)
LAYERS: dict[str, Any] = {"layers": "all", "k": 2}
EVERY: dict[str, Any] = {"layers": "all", "k": "all", "directions": True}
REVERSE, GRADED = EVERY | {"method": "chain-reverse"}, EVERY | {"method": "chain-graded"}
net, dead, single = partial(mlp, 2, 8, 8, 3), partial(whole_numbers, 2, 6, 5, 2), torch.float32

CASES = {
    "grid": Case(net, GRID, {"layers": "all"}),
    "grid, float32": Case(net, GRID, {"layers": "all"}, dtype=single),
    "grid, every value": Case(net, GRID, EVERY),
    "points": Case(net, randn(9, 2), EVERY),
    "plane": Case(partial(mlp, 5, 8, 6, 5), sx.plane(*randn(3, 5), shape=(4, 5)), EVERY),
    "wide first layer": Case(partial(mlp, 12, 4, 6, 3), randn(7, 12), EVERY),
    "wide and scaled": Case(partial(mlp, 9, 2, 6, 9), randn(7, 9), EVERY | {"scale": "std"}),
    "a coordinate held": Case(partial(mlp, 3, 6, 4), randn(5, 3), EVERY | {"scale": [0.5, 0.0, 2.0]}),
    "bottleneck": Case(partial(mlp, 4, 6, 2, 6, 3), randn(6, 4), EVERY),
    "hidden": Case(partial(mlp, 2, 5, 1), GRID, {"layers": "hidden"}),
    "kinks": Case(dead, WHOLE, EVERY),
    "kinks, float32": Case(dead, WHOLE, LAYERS, dtype=single),
    "batch norm": Case(normalised, GRID, EVERY),
    "deep": Case(partial(mlp, 2, *[4] * 20, 2), GRID, LAYERS, dtype=single),
    "activation first": Case(
        lambda: nn.Sequential(nn.Tanh(), *mlp(3, 4, 3)), randn(5, 3), EVERY | {"layers": ["0", "output"]}
    ),
    "no bias": Case(partial(mlp, 3, 4, 4, bias=False), randn(5, 3), EVERY),
    "functions": Case(Functional, randn(5, 1, 3), EVERY),
    "weights computed": Case(computed_weights, GRID, {}),
    "reverse": Case(partial(mlp, 9, 6, 5, 2), randn(6, 9), {"directions": True, "k": 2}, "chain-reverse"),
    "reverse, kinks": Case(dead, WHOLE, REVERSE, "chain-reverse"),
    "reverse, batch norm": Case(normalised, GRID, REVERSE, "chain-reverse"),
    "graded": Case(partial(mlp, 3, *[4] * 12, 3), randn(5, 3), GRADED, "chain-graded"),
    "graded, wide": Case(partial(mlp, 9, 3, 4, 3), randn(5, 9), GRADED, "chain-graded"),
    "graded, kinks": Case(dead, WHOLE, GRADED, "chain-graded"),
    "no chain": Case(Skip, GRID, EVERY, "forward"),
    "no chain, reverse": Case(Skip, GRID, EVERY | {"method": "reverse"}, "reverse"),
    "no chain, float32": Case(narrowing_skip, GRID, LAYERS, "forward", single),
    "no chain, a point at a time": Case(Skip, randn(3, 2), EVERY | {"method": "loop"}, "loop"),
}


@np.errstate(invalid="ignore")
def agree(field, alone, tolerance: float) -> None:
    """A singular value may differ by the tolerance times the largest one; directions by that over their distances."""
    for i, one in enumerate(alone):
        mine, theirs = field.isel(member=i), one.isel(member=0)
        assert set(field.variables) == set(one.variables)
        np.testing.assert_array_equal(mine.status, theirs.status)
        a, b = mine.stretch.values, theirs.stretch.values
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        np.testing.assert_array_equal(a[~np.isfinite(b)], b[~np.isfinite(b)])
        far = np.exp(np.where(np.isfinite(b), b[..., :1] - b, 0.0))
        assert (np.abs(a - b)[np.isfinite(b)] <= (tolerance * far)[np.isfinite(b)]).all()
        divisor = field.duration.values.reshape(-1, *[1] * (a.ndim - 1))
        np.testing.assert_array_equal(mine.exponent, a / divisor)
        for name in ("gap", "direction", "right", "left"):
            if name in one:
                same_up_to_sign(mine[name].values, theirs[name].values, b, tolerance, name)


def same_up_to_sign(a: np.ndarray, b: np.ndarray, stretch: np.ndarray, tolerance: float, name: str) -> None:
    if name == "gap":
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        assert (np.abs(a - b)[np.isfinite(b)] <= 2 * tolerance * np.exp(b[np.isfinite(b)])).all()
        return
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    turned = np.where((a * b).sum(-1, keepdims=True) < 0, -a, a)
    values = np.exp(stretch - stretch[..., :1])
    others = np.abs(values[..., :, None] - values[..., None, :]) + 2 * np.eye(values.shape[-1])
    sure = np.isfinite(stretch) & (np.minimum(others.min(-1), values) > 1e-4)
    if name == "direction":
        sure = sure[..., 0] if stretch.shape[-1] > 1 else np.isfinite(stretch[..., 0])
    assert np.abs(turned - b)[sure].max(initial=0.0) < 1e5 * tolerance


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_members_of_a_stack(case):
    members = [member.to(case.dtype) for member in make_members(case.factory, range(4))]
    stack = Stack(members)
    before = {name: t.clone() for name, t in stack.state_dict().items()}
    where = case.where if isinstance(case.where, sx.tangent.inputs.Plane) else case.where.to(case.dtype)
    field = sx.ftle(stack, where, **case.options)
    alone = [sx.ftle(member, where, **case.options) for member in members]
    assert field.sizes["member"] == 4
    assert field.method == case.method and {one.method for one in alone} == {case.method}
    assert field.recomputed_points == sum(one.recomputed_points for one in alone)
    agree(field, alone, 1e-12 if case.dtype == torch.float64 else 2e-5)
    assert all(torch.equal(t, before[name]) for name, t in stack.state_dict().items())
    assert all(p.grad is None for p in stack.parameters())


def test_what_the_cases_hold():
    """Kinks, dead units, values repaired in float64, and members that differ in them."""

    def stacked(case: Case) -> Any:
        return sx.ftle(Stack(make_members(case.factory, range(4))), case.where, **case.options)

    kinked = stacked(CASES["kinks"])
    for status in (Status.NONSMOOTH, Status.SINGULAR):
        counts = [int((one == status).sum()) for one in kinked.status]
        assert min(counts) > 0 and len(set(counts)) > 2
    assert stacked(CASES["deep"]).recomputed_points > 0
    narrow = stacked(CASES["no chain, float32"])
    assert narrow.recomputed_points == 4 * len(GRID) and (narrow.status.sel(layer="output") == Status.OK).all()


@pytest.mark.parametrize("factory", [net, Skip])
def test_every_member_is_checked(factory):
    members = make_members(factory, range(3))
    field = sx.ftle(Stack(members), GRID, verify=2)
    alone = [sx.ftle(member, GRID, verify=2).verify_worst for member in members]
    assert field.verify_points == 6 and len(set(alone)) == 3
    np.testing.assert_allclose(field.verify_worst, max(alone), rtol=0.5)
    assert math.isnan(sx.ftle(Stack([*members, broken(factory())]), GRID, verify=2).verify_worst)


def broken(member: nn.Module) -> nn.Module:
    next(member.parameters()).data.view(-1)[1] = math.nan
    return member


@pytest.mark.parametrize("method", ["chain-forward", "chain-reverse", "chain-graded"])
@pytest.mark.parametrize("widths", [(2, 5, 4, 2), (9, 4, 5, 2)], ids=["narrow", "wide"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_member_with_nan_disturbs_no_other(method, widths, place):
    members = [member.double() for member in make_members(partial(whole_numbers, *widths), range(3))]
    x = torch.randint(-1, 2, (6, widths[0]), generator=torch.Generator().manual_seed(0)).double()
    alone = [sx.ftle(member, x, method=method, **EVERY) for member in members]
    assert any((one.status != Status.OK).any() for one in alone)
    broken(members[place])
    field = sx.ftle(Stack(members), x, method=method, **EVERY)
    assert (field.status[place] == Status.NONFINITE).all() and np.isnan(field.stretch[place]).all()
    others = [i for i in range(3) if i != place]
    agree(field.isel(member=others), [alone[i] for i in others], 1e-12)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch.set_num_threads
    torch.set_num_threads(before)


PIECES = {1: [1] * 35, 3: [3, 2] * 7, 4: [4, 1] * 7, 5: [5] * 7, 12: [10, 10, 10, 5], 1000: [35]}


def bytes_of_a_pair(stack: Stack, x: torch.Tensor, method: str) -> int:
    with pytest.raises(sx.ArgumentError, match=r"^memory") as refused:
        sx.ftle(stack, x, method=method, k="all", memory=1)
    return int(re.search(r"needs about ([\d,]+) bytes", str(refused.value))[1].replace(",", ""))


@pytest.mark.parametrize("method", ["chain-forward", "chain-reverse", "chain-graded"])
@pytest.mark.parametrize("fit", PIECES)
def test_chunks_split_between_and_within_members(method, fit, threads):
    members = [member.double() for member in make_members(partial(mlp, 2, 6, 5, 2), range(7))]
    stack, x = Stack(members), randn(5, 2).double()
    seen: list[int] = []
    budget = fit * bytes_of_a_pair(stack, x, method)
    field = sx.ftle(stack, x, method=method, k="all", memory=budget, progress=lambda done, total: seen.append(done))
    assert np.diff([0, *seen]).tolist() == PIECES[fit] and field.recomputed_points == 0
    agree(field, [sx.ftle(member, x, method=method, k="all") for member in members], 1e-12)


@pytest.mark.parametrize("fit", [1, 3, 12, 1000])
def test_repair_in_small_chunks(fit, threads):
    members = [member.double() for member in make_members(dead, range(7))]
    stack = Stack(members)
    field = sx.ftle(stack, WHOLE, k="all", memory=fit * bytes_of_a_pair(stack, WHOLE, "chain-graded"))
    alone = [sx.ftle(member, WHOLE, k="all") for member in members]
    assert len({one.recomputed_points for one in alone}) > 3
    agree(field, alone, 1e-12)


def test_cores_share_a_stack(threads):
    members = make_members(partial(mlp, 2, 8, 8, 1), range(5))
    fields = []
    for count in (1, 3):
        threads(count)
        fields.append(sx.ftle(Stack(members), sx.grid((-1, 1), (-1, 1), shape=40), layers="all", memory="1MB"))
    agree(fields[0], [fields[1].isel(member=[i]) for i in range(5)], 2e-5)


def test_members_lent_in_turn():
    stack = Stack(make_members(lambda: nn.Sequential(computed_weights(), nn.BatchNorm1d(2)).eval(), range(3)))
    stack.network[1].running_mean = torch.randn(3, 2)
    x = torch.randn(4, 2)
    expected = [member(x) for member in stack.members]
    seen = [(id(lent), lent(x)) for lent in stack.in_turn([2, 0])]
    assert len({number for number, _ in seen}) == 1
    torch.testing.assert_close([value for _, value in seen], [expected[2], expected[0]])
    lent = next(iter(stack.in_turn([1])))
    assert lent[1].running_mean.data_ptr() == stack.network[1].running_mean[1].data_ptr()
    torch.testing.assert_close(stack(x), torch.stack(expected))


def test_a_figure_of_one_member():
    stack = Stack(make_members(net, range(2)))
    field = sx.ftle(stack, sx.grid((-1, 1), (-1, 1), shape=(12, 12)), layers="hidden")
    drawn = [sx.figures.field(field, member=i).images[0].get_array() for i in range(2)]
    assert not np.array_equal(*drawn)


PEAK = """
import resource, torch
from torch import nn
import separatrix as sx
torch.set_num_threads(1)
make = lambda: nn.Sequential(nn.Linear(40, 100), nn.Tanh(), nn.Linear(100, 100), nn.Tanh(), nn.Linear(100, 40))
stack, x = sx.ensembles.Stack([make() for _ in range(60)]), torch.randn(40, 40)
sx.ftle(stack, x[:2], memory="10MB")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sx.ftle(stack, x, memory="10MB")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_the_peak_of_a_stack_is_within_the_budget():
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) < 10e6
