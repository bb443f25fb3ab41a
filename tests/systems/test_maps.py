"""Map: any function of a batch, with clear errors for what cannot be one."""

import functools

import pytest
import torch
from torch import nn

from separatrix.results.errors import ArgumentError
from separatrix.systems import Map, System, adjoint
from separatrix.systems.callables import takes_time
from separatrix.testing import check_system

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(6, 2, generator=GENERATOR, dtype=torch.float64)
V = torch.randn(4, 6, 2, generator=GENERATOR, dtype=torch.float64)
A = torch.tensor([[0.5, 2.0], [-1.0, 0.25]], dtype=torch.float64)


def henon(x, a=1.4, b=0.3):
    return torch.stack([1 - a * x[:, 0] ** 2 + x[:, 1], b * x[:, 0]], dim=1)


def test_tangent_of_a_linear_map_is_its_matrix():
    system = Map(lambda x: x @ A.T)
    following, MV = system.tangent(X, V, 0)
    torch.testing.assert_close(following, X @ A.T, rtol=0, atol=1e-15)
    torch.testing.assert_close(MV, V @ A.T, rtol=0, atol=1e-15)
    torch.testing.assert_close(adjoint(system, X, V, 0), V @ A, rtol=0, atol=1e-15)


def test_henon_contracts_area_by_b_everywhere():
    eye = torch.eye(2, dtype=torch.float64)[:, None].expand(2, 6, 2)
    _, columns = Map(henon).tangent(X, eye, 0)
    torch.testing.assert_close(torch.det(columns.permute(1, 2, 0)), torch.full((6,), -0.3, dtype=torch.float64))


def test_henon_fixed_point_has_the_textbook_eigenvalues():
    # x* = (-(1 - b) + sqrt((1 - b)^2 + 4 a)) / 2a; eigenvalues solve s^2 + 2 a x* s - b = 0
    x = (-0.7 + (0.49 + 5.6) ** 0.5) / 2.8
    state = torch.tensor([x, 0.3 * x], dtype=torch.float64)
    following, columns = Map(henon).tangent(state, torch.eye(2, dtype=torch.float64), 0)
    torch.testing.assert_close(following, state, rtol=0, atol=1e-15)
    root = ((1.4 * x) ** 2 + 0.3) ** 0.5
    found = torch.linalg.eigvals(columns.T).real.sort().values
    torch.testing.assert_close(found, torch.tensor([-1.4 * x - root, -1.4 * x + root], dtype=torch.float64))


@pytest.mark.parametrize(
    "f",
    [
        henon,
        lambda x, t: henon(x) * (1 + t),
        nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2)).double(),
        nn.Sequential(nn.Linear(2, 5), nn.ReLU(inplace=True), nn.Linear(5, 2)).double(),
        nn.Sequential(nn.ReLU(inplace=True), nn.Linear(2, 2)).double(),
        nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)).double().eval(),
    ],
    ids=["henon", "time", "tanh", "in place", "in place on the input", "batch norm in eval"],
)
def test_conforms(f):
    check_system(Map(f), 0.3 * X)


def test_any_number_of_batch_dimensions():
    system = Map(henon)
    states = X.reshape(3, 2, 2)
    tangents = V.reshape(4, 3, 2, 2)
    following, MV = system.tangent(states, tangents, 0)
    for i in range(3):
        for j in range(2):
            alone, Mv = system.tangent(states[i, j], tangents[:, i, j], 0)
            assert alone.shape == (2,) and Mv.shape == (4, 2)
            torch.testing.assert_close(alone, following[i, j])
            torch.testing.assert_close(Mv, MV[:, i, j])


def test_time_is_the_number_of_the_step():
    seen = []

    def f(x, t):
        seen.append((type(t), t))
        return x + t

    system = Map(f)
    torch.testing.assert_close(system.step(X, 5), X + 5)
    assert seen == [(int, 5)]
    following, MV = system.tangent(X, V, 2)
    torch.testing.assert_close(following, X + 2)
    torch.testing.assert_close(MV, V)


class Timed(nn.Module):
    def forward(self, x, t):
        return x * (t + 1)


class Plain(nn.Module):
    def forward(self, x, mask=None):
        return x * 2 if mask is None else x * mask


@pytest.mark.parametrize(
    ("f", "factor"),
    [
        (Timed(), 4),
        (Plain(), 2),
        (lambda x, scale=2: x * scale, 2),
        (lambda x, t=0: x * (t + 1), 4),
        (lambda x, *, t: x * (t + 1), 4),
        (lambda x, *, scale=2: x * scale, 2),
        (functools.partial(lambda x, t, scale: x * scale * (t + 1), scale=2), 8),
        (lambda *args: args[0] * len(args), 1),
        (torch.positive, 1),
    ],
    ids=[
        "module (x, t)",
        "module (x, mask=None)",
        "x, a=2",
        "x, t=0",
        "t by name",
        "*, a=2",
        "partial",
        "*args",
        "builtin",
    ],
)
def test_time_is_handed_over_only_where_it_is_asked_for(f, factor):
    torch.testing.assert_close(Map(f).step(X, 3), X * factor)


@pytest.mark.parametrize(
    ("f", "what"),
    [
        (nn.Linear, "the class Linear"),
        (lambda: 0, "a function of (nothing)"),
        (lambda x, t, a: x, "a function of (x, t, a)"),
        (lambda x, *, a: x, "a function of (x, a)"),
    ],
)
def test_what_is_no_function_of_a_batch(f, what):
    with pytest.raises(ArgumentError) as error:
        Map(f)
    assert error.value.argument == "f" and error.value.got == what


def test_what_is_not_callable():
    with pytest.raises(ArgumentError, match=r"^f: got float; give a function of a batch, or an instance of nn.Module"):
        takes_time(3.0, "f")


@pytest.mark.parametrize(
    ("state", "what"),
    [
        (torch.ones(3, 2, dtype=torch.int64), "int64"),
        (torch.ones(3, 2, dtype=torch.complex64), "complex64"),
        (torch.tensor([0.0, torch.nan]), "1 values that are NaN or infinite, at t = 4"),
        (torch.tensor([[0.0, torch.inf], [-torch.inf, 0.0]]), "2 values"),
        (torch.ones(3, 3), "3 components"),
        (torch.tensor(1.0), r"shape \(\)"),
        (torch.ones(0, 2), r"shape \(0, 2\)"),
    ],
)
def test_what_is_no_state(state, what):
    system = Map(henon, dim=2)
    for call in (
        lambda: system.step(state, 4),
        lambda: system.tangent(state, state[None], 4),
        lambda: adjoint(system, state, state[None], 4),
    ):
        with pytest.raises(ArgumentError, match=rf"^state: got .*{what}"):
            call()


@pytest.mark.parametrize(
    ("f", "what"),
    [
        (lambda x: x[:, :1], r"returns shape \(6, 1\)"),
        (lambda x: x.sum(), r"returns shape \(\)"),
        (lambda x: (x, x), "returns tuple"),
        (lambda x: x.tolist(), "returns list"),
        (lambda x: x.float(), "returns torch.float32"),
    ],
)
def test_what_f_must_not_return(f, what):
    for call in (lambda: Map(f).step(X, 0), lambda: Map(f).tangent(X, V, 0)):
        with pytest.raises(ArgumentError, match=rf"^f: got a function that {what}"):
            call()


def test_state_and_module_of_different_dtypes():
    system = Map(nn.Linear(2, 2))
    for call in (lambda: system.step(X, 0), lambda: system.tangent(X, V, 0), lambda: adjoint(system, X, V, 0)):
        with pytest.raises(ArgumentError, match=r"^state: got torch.float64 on cpu; the module holds torch.float32"):
            call()
    assert system.step(X.float(), 0).dtype == torch.float32


def test_an_error_of_the_module_itself_is_left_alone():
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied"):
        Map(nn.Linear(3, 2, dtype=torch.float64)).step(X, 0)


@pytest.mark.parametrize(
    "part", [nn.Dropout(0.5), nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False).eval()]
)
def test_module_that_depends_on_chance_or_on_the_batch(part):
    model = nn.Sequential(nn.Linear(2, 2)).double()
    model.append(part.double())
    with pytest.raises(ArgumentError, match=rf"f: got a module whose {type(part).__name__} '1' uses"):
        Map(model).step(X, 0)


def test_train_mode_without_either_is_fine():
    Map(nn.Sequential(nn.Linear(2, 2), nn.Tanh()).double().train()).step(X, 0)


def test_dimension_is_found_from_the_first_state():
    system = Map(henon)
    with pytest.raises(ArgumentError, match=r"^dim: got None.*Map\(\.\.\., dim=n\)"):
        system.dim(0)
    system.step(X, 0)
    assert system.dim(0) == system.dim(17) == 2
    assert Map(henon, dim=2).dim(0) == 2
    with pytest.raises(ArgumentError, match=r"3 components"):
        system.step(torch.ones(4, 3), 0)


def test_a_state_that_fails_does_not_fix_the_dimension():
    system = Map(henon)
    with pytest.raises(ArgumentError):
        system.step(torch.full((3,), torch.nan), 0)
    system.step(X, 0)
    assert system.dim(0) == 2


@pytest.mark.parametrize("dim", [0, -1, 2.0, True])
def test_dimension_that_is_none(dim):
    with pytest.raises((ArgumentError, TypeError), match=r"dim"):
        Map(henon, dim=dim)


def test_duration_and_unit():
    assert (Map(henon).dt, Map(henon).unit) == (1.0, "1/step")
    assert (Map(henon, dt=0.25).dt, Map(henon, dt=0.25).unit) == (0.25, "1/time")
    assert Map(henon).horizon is None
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match=r"^dt: "):
            Map(henon, dt=bad)


def test_is_a_system_that_says_what_it_is():
    assert isinstance(Map(henon), System)
    assert repr(Map(henon, dim=2)) == "Map(henon, dt=1, unit='1/step', dim=2)"


def test_gradient_of_a_step_reaches_the_state():
    x = X.clone().requires_grad_()
    Map(lambda x: x @ A.T).step(x, 0).sum().backward()
    torch.testing.assert_close(x.grad, A.sum(0).expand(6, 2))


def test_steps_work_inside_vmap():
    torch.testing.assert_close(torch.func.vmap(lambda x: Map(henon).step(x, 0))(X), henon(X))


@pytest.mark.gpu
def test_on_the_models_device():
    model = nn.Linear(2, 2, dtype=torch.float64).cuda()
    check_system(Map(model), X.cuda())
    with pytest.raises(ArgumentError, match=r"state: got torch.float64 on cpu; the module holds torch.float64 on cuda"):
        Map(model).step(X, 0)
