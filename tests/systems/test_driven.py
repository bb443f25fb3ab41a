"""Recurrent cells and layers over a recorded input are systems, exact against torch's own runs and dense Jacobians."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.results.errors import ArgumentError
from separatrix.systems import Loop, Recurrent, adjoint
from separatrix.tangent.largest_exponent import largest_exponent
from separatrix.testing import check_system

STEPS = 3
CELLS = {
    "rnn-cell": lambda: nn.RNNCell(2, 4),
    "rnn-cell-relu": lambda: nn.RNNCell(2, 4, bias=False, nonlinearity="relu"),
    "gru-cell": lambda: nn.GRUCell(2, 4),
    "lstm-cell": lambda: nn.LSTMCell(2, 4),
    "rnn": lambda: nn.RNN(2, 3, num_layers=2),
    "rnn-relu": lambda: nn.RNN(2, 4, nonlinearity="relu", batch_first=True, bias=False),
    "gru": lambda: nn.GRU(2, 3, num_layers=2, batch_first=True),
    "lstm": lambda: nn.LSTM(2, 3, num_layers=2),
    "lstm-projected": lambda: nn.LSTM(2, 4, proj_size=3, batch_first=True),
}
SIZES = {"rnn": 6, "gru": 6, "lstm": 12, "lstm-projected": 7, "lstm-cell": 8}


def make(name, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        cell = CELLS[name]()
        for weight in (p for p in cell.parameters() if p.ndim == 2):
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
    return cell.to(dtype)


def recording(steps=STEPS, inputs=2, dtype=torch.float64):
    return torch.randn(steps, inputs, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def states(count, dim, dtype=torch.float64):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


def by_torch(cell, state, U):
    """State (n,) after a recording, by the module's own run over all of it, or a loop over its cell; h and c apart."""
    if isinstance(cell, nn.RNNCellBase):
        held = state.chunk(2)
        pair = isinstance(cell, nn.LSTMCell)
        for u in U:
            held = cell(u, held) if pair else (cell(u, held[0]),) if len(held) == 1 else (cell(u, state),)
            state = held[0]
        return torch.cat(held) if pair else state
    width = getattr(cell, "proj_size", 0) or cell.hidden_size
    h, c = state[: cell.num_layers * width], state[cell.num_layers * width :]
    start = h.view(cell.num_layers, 1, width)
    if len(c):
        start = (start, c.view(cell.num_layers, 1, cell.hidden_size))
    end = cell(U[None] if cell.batch_first else U[:, None], start)[1]
    return torch.cat([part.flatten() for part in (end if isinstance(end, tuple) else (end,))])


@pytest.mark.parametrize("name", CELLS)
def test_is_a_system_with_the_length_of_the_recording(name):
    loop = Loop(make(name), recording())
    size = SIZES.get(name, 4)
    assert loop.dim(0) == loop.dim(STEPS) == size and loop.horizon == STEPS
    check_system(loop, states(2, size), steps=STEPS)


@pytest.mark.parametrize("name", CELLS)
def test_an_orbit_is_the_modules_own_run_and_its_tangents_are_the_dense_jacobian(name):
    cell, U = make(name), recording()
    loop = Loop(cell, U)
    x = states(3, loop.dim(0))
    n = x.shape[1]
    following, V = x, torch.eye(n, dtype=x.dtype)[:, None].expand(n, 3, n)
    for t in range(STEPS):
        following, V = loop.tangent(following, V, t)
    for i, start in enumerate(x):
        torch.testing.assert_close(following[i], by_torch(cell, start, U), rtol=1e-13, atol=1e-14)
        dense = torch.func.jacrev(lambda s: by_torch(cell, s, U))(start)
        torch.testing.assert_close(V[:, i].T, dense, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["gru-cell", "lstm", "rnn"])
def test_every_step_against_the_dense_jacobian_and_its_transpose(name):
    cell, U = make(name), recording(2)
    loop, x = Loop(cell, U), states(1, SIZES.get(name, 4))
    W = states(3, x.shape[1])[:, None]
    for t in range(2):
        dense = torch.func.jacrev(lambda s, t=t: by_torch(cell, s, U[t : t + 1]))(x[0])
        V = states(5, x.shape[1])[:, None]
        torch.testing.assert_close(loop.tangent(x, V, t)[1][:, 0], V[:, 0] @ dense.T, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(adjoint(loop, x, W, t)[:, 0], W[:, 0] @ dense, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm-cell"])
def test_fused_kernels_in_single_precision(name):
    single, double = (Loop(make(name, dtype), recording(dtype=dtype)) for dtype in (torch.float32, torch.float64))
    # many states, so that forward mode is taken, which the fused LSTM lacks
    x, V = states(300, double.dim(0)), states(900, double.dim(0)).view(3, 300, -1)
    enabled = torch.backends.mkldnn.enabled
    for t in range(2):
        found = single.tangent(x.float(), V.float(), t)[1].double()
        torch.testing.assert_close(found, double.tangent(x, V, t)[1], rtol=1e-4, atol=1e-5)
    assert torch.backends.mkldnn.enabled == enabled


def constant_gates(kind, **biases):
    """A cell whose gates do not depend on anything: weights 0, and biases by gate."""
    cell = kind(1, 3).double()
    order = {nn.LSTMCell: "ifgo", nn.GRUCell: "rzn"}[kind]
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        for gate, value in biases.items():
            place = order.index(gate)
            cell.bias_ih[3 * place : 3 * place + 3] = value
    return cell


@pytest.mark.parametrize(
    ("cell", "exact"),
    [
        # c+ = sigmoid(f) c + constant, and h does not enter
        (constant_gates(nn.LSTMCell, f=2.0, i=0.3, g=0.5), -math.log1p(math.exp(-2.0))),
        # h+ = (1 - sigmoid(z)) n + sigmoid(z) h
        (constant_gates(nn.GRUCell, z=-1.0, n=0.4), -math.log1p(math.exp(1.0))),
    ],
)
def test_exponents_of_constant_gates_are_known(cell, exact):
    loop = Loop(cell, recording(20, 1))
    x = torch.zeros(3, loop.dim(0), dtype=torch.float64)
    for _ in range(400):
        x = loop.step(x, 0)  # to where c stays
    found = largest_exponent(loop, x.detach(), steps=18, transient=2)
    np.testing.assert_allclose(found.exponent, exact, rtol=1e-12)


def test_exponents_of_a_positive_relu_network_are_those_of_its_matrix():
    cell = nn.RNNCell(1, 2, nonlinearity="relu").double()
    with torch.no_grad():
        cell.weight_hh.copy_(torch.tensor([[1.1, 0.2], [0.0, 0.7]], dtype=torch.float64))
        cell.weight_ih.fill_(0.5), cell.bias_ih.zero_(), cell.bias_hh.zero_()
    loop = Loop(cell, recording(80, 1).abs(), dt=0.1)
    found = largest_exponent(loop, states(3, 2).abs(), steps=20, transient=60)
    np.testing.assert_allclose(found.exponent, math.log(1.1) / 0.1, rtol=1e-11)


def test_exponents_per_time_step_are_those_of_the_dense_product():
    cell, U = make("lstm-cell"), recording(30)
    loop, x = Loop(cell, U), states(1, 8)
    found = largest_exponent(loop, x, steps=20, transient=10, seed=3)
    state, total = x[0], 0.0
    v = torch.randn(8, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)[:, 0]
    for t in range(30):
        step = lambda s, t=t: by_torch(cell, s, U[t : t + 1])  # noqa: E731
        before, v = v, (torch.func.jacrev(step)(state) @ v).detach()
        total += float(v.norm().log() - before.norm().log()) if t >= 10 else 0.0
        state = step(state)
    np.testing.assert_allclose(found.exponent[0], total / 20, rtol=1e-11)
    torch.testing.assert_close(found.state[0], state, rtol=1e-12, atol=1e-13)


def test_output_fed_back_is_one_map():
    cell, readout = make("gru-cell"), nn.Linear(4, 2).double()
    loop, x = Loop(cell, readout), states(2, 4)
    assert loop.horizon is None
    check_system(loop, x)
    dense = torch.func.jacrev(lambda h: cell(readout(h), h))(x[0])
    V = states(3, 4)[:, None].expand(3, 2, 4)
    torch.testing.assert_close(loop.tangent(x, V, 0)[1][:, 0], V[:, 0] @ dense.T, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["rnn-cell", "rnn", "rnn-relu"])
def test_a_plain_network_is_seen_through(name):
    loop = Loop(make(name), torch.tensor([0.3, -0.2], dtype=torch.float64))
    x = states(4, loop.dim(0))
    form = sx.affine(loop, x)
    torch.testing.assert_close(torch.einsum("bij,bj->bi", form.A, x) + form.b, loop.step(x, 0))
    with pytest.raises(ArgumentError, match="the operation gru_cell"):
        sx.affine(Loop(make("gru-cell"), torch.zeros(2, dtype=torch.float64)), states(1, 4))


def test_a_plain_cell_can_be_certified():
    cell = make("rnn-cell")
    with torch.no_grad():
        cell.weight_hh *= 0.5 / torch.linalg.matrix_norm(cell.weight_hh, 2)
    found = sx.certify(Loop(cell, torch.ones(2, dtype=torch.float64)), "contraction")
    assert found.verdict is sx.Verdict.CERTIFIED


@pytest.mark.parametrize("name", ["lstm", "lstm-projected", "gru", "lstm-cell", "gru-cell"])
def test_packing(name):
    cell, U = make(name), recording()
    f = Recurrent(cell)
    batch = torch.stack([U, 2 * U, -U])
    by_steps = batch if getattr(cell, "batch_first", False) else batch.transpose(0, 1)
    ends = cell(batch[:, 0]) if name.endswith("cell") else cell(by_steps)[1]
    packed = f.pack(ends)
    assert packed.shape == (3, f.dim) and f.inputs == 2
    again = f.unpack(packed)
    for a, b in zip(*((e if isinstance(e, tuple) else (e,)) for e in (ends, again)), strict=True):
        assert torch.equal(a, b)
    torch.testing.assert_close(Loop(f, U).step(packed, 0), f(packed, U[:1].expand(3, 2)))


def test_it_says_what_it_is():
    cell = make("lstm")
    loop = Loop(cell, recording(), dt=0.5)
    assert repr(loop) == "Loop(LSTM, u=(3, 2), dt=0.5, unit='1/time', dim=12)" and loop.network is cell


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Loop(nn.GRU(2, 3, bidirectional=True), recording()), "^cell: got a bidirectional GRU; .* sx.ftle"),
        (lambda: Recurrent(nn.Linear(2, 2)), r"^cell: got Linear; give an RNN, GRU or LSTM"),
        (lambda: Loop(nn.GRUCell(2, 3)), r"^u: got None; f takes \(x, u\)"),
        (lambda: Loop(nn.GRUCell(3, 3), recording()), r"^u: got shape \(3, 2\); this GRUCell takes 3 inputs: give"),
        (lambda: Loop(nn.GRU(1, 3), torch.zeros(6)), r"^u: got shape \(6,\); this GRU takes 1 inputs: give \(T, 1\)"),
        (lambda: Loop(nn.GRU(2, 3), torch.zeros(6, 5, 2)), r"^u: got shape \(6, 5, 2\); give a number"),
        (lambda: Loop(nn.LSTM(2, 3), recording(), dim=3), r"^dim: got 3; a state of this LSTM has 6 components"),
        (lambda: Loop(nn.GRUCell(2, 3), recording(), shape=(1, 3)), r"^shape: got \(1, 3\); a state of this GRU"),
        (lambda: Loop(torch.jit.script(nn.LSTM(2, 3)), recording()), r"^f: got a scripted LSTM; give the nn.Module"),
        (lambda: Loop(lambda x, h: h, recording()), r"^f: got a function of \(x, h\), with the state second"),
    ],
)  # fmt: skip
def test_what_cannot_be_driven(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


def test_what_a_driven_network_refuses_at_a_step():
    loop = Loop(make("lstm"), recording())
    with pytest.raises(ArgumentError, match=r"^state: got 6 components; the states of this system have 12"):
        loop.step(states(1, 6), 0)
    with pytest.raises(ArgumentError, match=r"^t: got 3; u has 3 rows"):
        loop.step(states(1, 12), 3)
    wide = Loop(make("gru-cell"), nn.Linear(4, 3).double())
    with pytest.raises(ArgumentError, match=r"^u: got 3 components; this GRUCell takes 2"):
        wide.step(states(1, 4), 0)
    random = Loop(nn.LSTM(2, 3, num_layers=2, dropout=0.5).double(), recording())
    with pytest.raises(ArgumentError, match=r"^f: got a module whose LSTM '' uses random numbers; call .eval"):
        random.step(states(1, 12), 0)
