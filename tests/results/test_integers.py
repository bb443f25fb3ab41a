"""Whole numbers as they come: NumPy's are taken wherever Python's are, and truth values nowhere."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import separatrix as sx
from separatrix.results.integers import integer, whole
from separatrix.results.provenance import provenance

CAT = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
SYSTEM = sx.Map(lambda x: (x @ CAT.T) % 1)
START = torch.tensor([0.1, 0.2], dtype=torch.float64)
X = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]


def settings(found):
    return json.loads(found.attrs["provenance"])["settings"]


class Index:
    def __index__(self):
        return 3


@pytest.mark.parametrize(
    "value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), Index()], ids=lambda v: type(v).__name__
)
def test_everything_with_an_index_is_a_whole_number(value):
    assert integer(value) == 3 and type(whole("k", value, 3)) is int
    with pytest.raises(sx.ArgumentError, match=r"^k: got .*; give a whole number of at least 4"):
        whole("k", value, 4)


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        torch.tensor(True),
        np.array(True),
        3.0,
        np.float64(3),
        torch.tensor(3.0),
        "3",
        None,
        [3],
        torch.tensor([3]),
    ],
    ids=repr,
)
def test_nothing_else_is(value):
    assert integer(value) is None
    with pytest.raises(sx.ArgumentError, match=r"^steps: got "):
        whole("steps", value, 0)


@pytest.mark.parametrize("kind", [np.int64, np.int32, torch.tensor])
def test_exponents_and_covariant_vectors_count_with_them(kind):
    counts = {"steps": 40, "k": 2, "transient": 5, "every": 4, "window": 8, "seed": 1, "seeds": 2}
    plain, other = (sx.lyapunov(SYSTEM, START, **{n: of(v) for n, v in counts.items()}) for of in (int, kind))
    assert plain.drop_attrs().identical(other.drop_attrs())
    found = settings(other)
    assert {name: found[name] for name in counts} == counts
    counts = {"steps": 20, "k": 2, "spinup": 10, "spindown": 10, "vectors": 5, "every": 5, "seed": 1}
    plain, other = (sx.covariant(SYSTEM, START, **{n: of(v) for n, v in counts.items()}) for of in (int, kind))
    assert plain.drop_attrs().identical(other.drop_attrs())
    found = settings(other)
    assert {name: found[name] for name in counts} == counts


def test_settings_of_numpy_are_numbers_in_the_provenance():
    field = sx.ftle(lambda x: x.sin(), X[:, :1], k=np.int64(1))
    assert settings(field)["k"] == 1 and field.sizes["index"] == 1
    given = {"count": np.int64(3), "rate": np.float32(0.5), "on": np.True_, "model": None, "shape": (np.int32(2), 3)}
    text = provenance("anything", **given, of=torch.float64)
    assert json.loads(text)["settings"] == {"count": 3, "rate": 0.5, "on": True, "shape": [2, 3], "of": "torch.float64"}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)).double()


def training(**counts):
    gradient_descent = sx.optim.GradientDescent(lr=0.1)
    return sx.Training(network(), nn.functional.mse_loss, (X, X**2), gradient_descent, **counts)


def test_trainings_count_with_them():
    counts = {"batch_size": 2, "shuffle_seed": 3, "first_step": 1, "mask_seed": 4}
    plain, other = training(**counts), training(**{name: np.int64(value) for name, value in counts.items()})
    state = plain.initial_state(2, 3)
    assert torch.equal(other.initial_state(np.int64(2), np.int64(3)), state)
    assert torch.equal(other.initial_state(np.array([2, 3, 4])), state)
    assert torch.equal(plain.step(state, 5), other.step(state, 5))


def test_monitors_count_with_them():
    found = []
    for of in (int, np.int64):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        counts = {"k": of(2), "window": of(2), "every": of(3), "seed": of(1)}
        monitor = sx.Monitor(model, nn.functional.mse_loss, optimizer, **counts)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(X), X**2).backward()
            found.append(monitor.step((X, X**2)))
            optimizer.step()
        json.dumps([found, monitor.state_dict()["settings"]])
    assert found[:5] == found[5:] and found[1] is not None


RELU = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)).double()
SQUARE = ((-1.0, -1.0), (1.0, 1.0))
TURN = sx.Map(lambda x: torch.tanh(x @ CAT.T))
POINTS = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CALLS = {
    "verify": (2, lambda n: sx.ftle(RELU, POINTS[:3], verify=n)),
    "dim": (2, lambda n: sx.Map(lambda x: x, dim=n)),
    "shape": (2, lambda n: sx.Loop(nn.Tanh(), shape=(1, n))),
    "limit": (100, lambda n: sx.regions(RELU, SQUARE, limit=n)),
    "period": (1, lambda n: sx.equilibria(TURN, SQUARE, period=n)),
    "max_boxes": (50, lambda n: sx.equilibria(TURN, SQUARE, max_boxes=n)),
    "starts": (3, lambda n: sx.equilibria(TURN, SQUARE, starts=n, method="newton")),
    "max_period": (4, lambda n: sx.basins(TURN, sx.grid((-2, 2), (-2, 2), shape=5), max_period=n)),
    "transient": (10, lambda n: sx.basins(TURN, sx.grid((-2, 2), (-2, 2), shape=5), transient=n)),
    "nulls": (9, lambda n: sx.ricci([POINTS**i for i in range(1, 7)], k=3, nulls=n)),
    "threads": (1, lambda n: sx.geometry.neighbours(POINTS, 3, threads=n)),
    "k_max": (3, lambda n: sx.geometry.neighbours(POINTS, n)),
}


@pytest.mark.parametrize("argument", CALLS)
def test_the_other_instruments_count_with_them(argument, as_user):
    count, call = CALLS[argument]
    plain, other = call(count), call(np.int64(count))
    if isinstance(plain, xr.Dataset):
        assert plain.drop_attrs().identical(other.drop_attrs())
    for wrong in (True, count + 0.5, str(count)):
        with pytest.raises(sx.ArgumentError) as error:
            call(wrong)
        assert error.value.argument == argument


@pytest.mark.parametrize("wrong", [True, 2.5, "3", np.float64(3)])
def test_what_is_no_whole_number_is_named(wrong, as_user):
    model = network()
    calls = {
        "steps": lambda: sx.lyapunov(SYSTEM, START, steps=wrong),
        "spinup": lambda: sx.covariant(SYSTEM, START, steps=5, spinup=wrong),
        "every": lambda: sx.covariant(SYSTEM, START, steps=5, every=wrong),
        "window": lambda: sx.Monitor(
            model, nn.functional.mse_loss, torch.optim.SGD(model.parameters(), lr=0.1), window=wrong
        ),
        "batch_size": lambda: training(batch_size=wrong),
        "shuffle_seed": lambda: training(batch_size=2, shuffle_seed=wrong),
        "first_step": lambda: training(first_step=wrong),
        "mask_seed": lambda: training(mask_seed=wrong),
        "members": lambda: training().initial_state(0, wrong),
    }
    for argument, call in calls.items():
        with pytest.raises(sx.ArgumentError) as error:
            call()
        assert error.value.argument == argument
