"""Exponents within a training loop, against the dense derivative of the optimizer step; and every misuse named."""

import functools
from itertools import pairwise

import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.tangent.bundles import orthonormalise

OPTIMIZERS = {
    "sgd": functools.partial(torch.optim.SGD, lr=0.1),
    "decay": functools.partial(torch.optim.SGD, lr=0.1, weight_decay=0.01),
    "heavy ball": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    "dampened": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, dampening=0.3),
    "nesterov": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
    "adam": functools.partial(torch.optim.Adam, lr=0.01),
    "adamw": functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
    "rmsprop": functools.partial(torch.optim.RMSprop, lr=0.01),
}


class Loop:
    """An ordinary training loop, with everything that a test may want to change."""

    def __init__(self, make, *, dtype=torch.float64, seed=0, hidden=4, net=None, **options):
        torch.manual_seed(seed)
        self.model = net or nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.model = self.model.to(dtype)
        self.optimizer = make(self.model.parameters())
        self.batches = [(torch.randn(6, 2, dtype=dtype), torch.randn(6, 1, dtype=dtype)) for _ in range(60)]
        self.loss = nn.functional.mse_loss
        self.monitor = sx.Monitor(self.model, self.loss, self.optimizer, **options)
        self.t = 0

    def run(self, steps, *, clip=None, scale=1.0, before=None):
        found = []
        for _ in range(steps):
            x, y = self.batches[self.t % len(self.batches)]
            self.optimizer.zero_grad()
            if before:
                self.monitor.before_forward()
            (scale * self.loss(self.model(x), y)).backward()
            found.append(self.monitor.step((x, y)))
            if clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), clip)
            self.optimizer.step()
            self.t += 1
        return found


def whole_step(loop, make, clip):
    """The optimizer step of torch as a function of (weights, memory), differentiated by finite differences."""
    names = {"SGD": ["momentum_buffer"], "Adam": ["exp_avg", "exp_avg_sq"], "RMSprop": ["square_avg"]}
    kind = type(loop.optimizer).__name__.removesuffix("W")
    parts = names[kind] if kind != "SGD" or loop.optimizer.defaults["momentum"] else []
    shapes = [p.shape for p in loop.model.parameters()]
    sizes = [p.numel() for p in loop.model.parameters()]

    def read():
        state = [loop.optimizer.state.get(p, {}) for p in loop.model.parameters()]
        rows = [torch.cat([p.detach().flatten() for p in loop.model.parameters()])]
        for name in parts:
            held = [s.get(name) for s in state]
            flat = [torch.zeros(n) if h is None else h.flatten() for h, n in zip(held, sizes, strict=True)]
            rows.append(torch.cat(flat).double())
        return torch.stack(rows)

    def step(state, batch, t):
        model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
        for p, part, shape in zip(model.parameters(), state[0].split(sizes), shapes, strict=True):
            p.data = part.reshape(shape).clone()
        optimizer = make(model.parameters())
        for i, p in enumerate(model.parameters()):
            if t:
                optimizer.state[p] = {"step": torch.tensor(float(t))} | {
                    name: state[j].split(sizes)[i].reshape(shapes[i]).clone() for j, name in enumerate(parts, 1)
                }
        loop.loss(model(batch[0]), batch[1]).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        held = [optimizer.state.get(p, {}) for p in model.parameters()]
        rows = [torch.cat([p.detach().flatten() for p in model.parameters()])]
        rows += [torch.cat([h[name].flatten() for h in held]) for name in parts]
        return torch.stack(rows)

    return read, step


@pytest.mark.parametrize("clip", [None, 0.2], ids=["", "clipped"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_growth_is_that_of_the_whole_optimizer_step(name, clip):
    loop = Loop(OPTIMIZERS[name], k=2, window=5, clip=clip)
    read, step = whole_step(loop, OPTIMIZERS[name], clip)
    loop.run(5, clip=clip)  # off the start, where second moments are zero
    start = [torch.cat([part.flatten(1) for part in parts], 1) for parts in loop.monitor._bundle]
    rows = len(read())
    sizes = [p.numel() for p in loop.model.parameters()]
    # the monitor keeps (weights, memory) parameter by parameter; here part by part
    V = torch.stack(
        [torch.cat([s[:, i * n : (i + 1) * n] for s, n in zip(start, sizes, strict=True)], 1) for i in range(rows)], 1
    )
    logs = torch.zeros(2, dtype=torch.float64)
    for t in range(5, 10):
        state, batch = read(), loop.batches[t]
        # Adam's memory of squares is small: differences relative to each part's own size
        size = 1e-5 if rows < 3 and "rms" not in name else 1e-7
        new = [(step(state + size * v, batch, t) - step(state - size * v, batch, t)) / (2 * size) for v in V]
        Q, R = torch.linalg.qr(torch.stack(new).flatten(1).T)
        logs += R.diagonal().abs().log()
        V = Q.T.reshape(V.shape)
        found = loop.run(1, clip=clip)[0]
    assert found["first_step"] == 5
    measured = torch.tensor([found["window_ftle_1"], found["window_ftle_2"]], dtype=torch.float64)
    torch.testing.assert_close(measured, logs.sort(descending=True).values / 5, rtol=1e-5, atol=1e-6)


def test_quadratic_loss_is_exact():
    """Gradient descent on c/2 w^2 shrinks all perturbations by 1 - lr c."""
    net = nn.Linear(1, 1, bias=False)
    loop = Loop(functools.partial(torch.optim.SGD, lr=0.1), net=net, window=3)
    loop.batches = [(torch.full((4, 1), 2.0, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64))]
    found = loop.run(3)[-1]
    # mean of (2 w)^2: second derivative 8
    assert found["window_ftle"] == pytest.approx(torch.log(torch.tensor(0.2)).item(), rel=1e-6)


def test_windows_are_consecutive_and_the_rest_costs_nothing(monkeypatch):
    loop = Loop(OPTIMIZERS["adam"], window=3, every=10)
    calls = []
    monkeypatch.setattr(loop.monitor, "_carry", functools.partial(_counted, calls, loop.monitor._carry))
    found = loop.run(23)
    assert [i for i, f in enumerate(found) if f] == [2, 12, 22]
    assert [f["first_step"] for f in found if f] == [0, 10, 20]
    assert len(calls) == 9


def _counted(calls, function, *args, **kwargs):
    calls.append(1)
    return function(*args, **kwargs)


def test_one_step_is_called_growth():
    found = Loop(OPTIMIZERS["sgd"], window=1, every=4).run(5)
    assert set(found[4]) == {"one_step_growth", "first_step", "steps"}
    assert found[1] is None


def test_an_interrupted_window_is_left_out():
    loop = Loop(OPTIMIZERS["sgd"], window=4, every=4)
    loop.run(2)
    loop.optimizer.step()  # a step that the monitor does not see
    with pytest.warns(sx.SeparatrixWarning, match="2 optimizer steps"):
        assert loop.run(1) == [None]
    assert loop.run(1) == [None]
    assert loop.run(4)[-1]["first_step"] == 4


def test_the_loop_does_not_notice():
    weights = []
    for options in ({}, None):
        loop = Loop(OPTIMIZERS["adam"], window=3)
        if options is None:
            loop.monitor.step = lambda batch: None
        torch.manual_seed(5)
        loop.run(7)
        weights.append([p.detach().clone() for p in loop.model.parameters()])
        assert torch.rand(1).item() == pytest.approx(0.8302, abs=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize("name", ["heavy ball", "adam"])
def test_a_run_goes_on_from_a_checkpoint(name):
    straight = Loop(OPTIMIZERS[name], k=2, window=5)
    expected = [f for f in straight.run(15) if f]
    first = Loop(OPTIMIZERS[name], k=2, window=5)
    begun = [f for f in first.run(8) if f]
    saved = (first.model.state_dict(), first.optimizer.state_dict(), first.monitor.state_dict())
    second = Loop(OPTIMIZERS[name], k=2, window=5, seed=3)
    second.batches, second.t = first.batches, first.t
    second.model.load_state_dict(saved[0])
    second.optimizer.load_state_dict(saved[1])
    second.monitor.load_state_dict(saved[2])
    assert begun + [f for f in second.run(7) if f] == expected
    other = Loop(OPTIMIZERS[name], k=3, window=5)
    with pytest.raises(sx.ArgumentError, match="state"):
        other.monitor.load_state_dict(saved[2])


def test_rates_that_a_scheduler_changes():
    """With rate 0 nothing moves: M = I."""
    loop = Loop(OPTIMIZERS["sgd"], window=2)
    schedule = torch.optim.lr_scheduler.LambdaLR(loop.optimizer, lambda t: float(t < 2))
    found = []
    for _ in range(4):
        found += loop.run(1)
        schedule.step()
    assert abs(found[1]["window_ftle"]) > 1e-3
    assert found[3]["window_ftle"] == pytest.approx(0.0, abs=1e-14)


def test_groups_with_rates_of_their_own():
    def make(parameters):
        first, *rest = parameters
        return torch.optim.SGD([{"params": [first], "lr": 0.0}, {"params": rest, "lr": 0.1}])

    loop = Loop(make, k=3, window=30)
    rates = loop.run(30)[-1]
    same = Loop(make, k=3, window=30)
    same.model[0].weight.requires_grad_(False)
    free = sx.Monitor(same.model, same.loss, torch.optim.SGD([*same.model.parameters()][1:], lr=0.1), k=1)
    assert free.k == 1
    # eight weights that do not move keep their perturbations
    assert rates["window_ftle_3"] > -0.05


def test_differences_estimate_the_exact_products():
    exact, estimate = (Loop(OPTIMIZERS["heavy ball"], window=10, mode=mode) for mode in ("exact", "difference"))
    a, b = exact.run(10)[-1], estimate.run(10)[-1]
    assert "product_error" not in a
    assert 0 < b["product_error"] < 1e-5
    assert b["window_ftle"] == pytest.approx(a["window_ftle"], abs=1e-6)


def test_accumulated_gradients_are_given_as_a_list():
    one = Loop(OPTIMIZERS["adam"], window=2)
    x, y = one.batches[0]
    one.batches = [(x, y)]
    expected = one.run(2)[-1]
    two = Loop(OPTIMIZERS["adam"], window=2)
    for _ in range(2):
        two.optimizer.zero_grad()
        for part in (slice(3), slice(3, None)):
            (two.loss(two.model(x[part]), y[part]) / 2).backward()
        found = two.monitor.step([(x[part], y[part]) for part in (slice(3), slice(3, None))])
        two.optimizer.step()
    assert found["window_ftle"] == pytest.approx(expected["window_ftle"], rel=1e-10)


def test_dropout_is_drawn_again():
    net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 1))
    loop = Loop(OPTIMIZERS["sgd"], net=net, window=2)
    with pytest.raises(sx.ArgumentError, match=r"dropout in '1'.*before_forward"):
        loop.run(1)
    loop.monitor.load_state_dict(Loop(OPTIMIZERS["sgd"], net=net, window=2).monitor.state_dict())
    # the gradients would not agree if the masks did not
    assert loop.run(2, before=True)[-1]["window_ftle"] != 0


def test_batch_norm_and_attention_and_unused_parameters():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.norm = nn.Linear(2, 4), nn.BatchNorm1d(4)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.unused, self.outer = nn.Linear(3, 3), nn.Linear(4, 1)

        def forward(self, x):
            h = self.norm(self.inner(x))[:, None]
            return self.outer(self.attention(h, h, h)[0][:, 0])

    loop = Loop(OPTIMIZERS["adam"], net=Net(), window=2)
    before = loop.model.norm.num_batches_tracked.item()
    assert loop.run(2)[-1]["window_ftle"] != 0
    assert loop.model.norm.num_batches_tracked.item() == before + 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clip": 1e-3}, "gradients that are .* of the loss's; for clipping"),
        ({"scale": 1024.0}, "1.02e\\+03 times the loss's; for AMP"),
    ],
)
def test_gradients_that_are_not_the_losss(options, words):
    loop = Loop(OPTIMIZERS["sgd"])
    x, y = loop.batches[0]
    (options.get("scale", 1.0) * loop.loss(loop.model(x), y)).backward()
    if "clip" in options:
        nn.utils.clip_grad_norm_(loop.model.parameters(), options["clip"])
    with pytest.raises(sx.ArgumentError, match=words):
        loop.monitor.step((x, y))


def test_another_batch_is_noticed():
    loop = Loop(OPTIMIZERS["sgd"])
    loop.loss(loop.model(loop.batches[0][0]), loop.batches[0][1]).backward()
    with pytest.raises(sx.ArgumentError, match="differ from the loss's on the batch by"):
        loop.monitor.step(loop.batches[1])


def test_exploding_runs_say_so_and_the_next_window_begins_anew():
    loop = Loop(functools.partial(torch.optim.SGD, lr=1e200), window=3)
    found = loop.run(3)[-1]
    assert not found["window_ftle"] < float("inf")
    with torch.no_grad():
        for p in loop.model.parameters():
            p.copy_(torch.randn(p.shape))
    loop.optimizer.param_groups[0]["lr"] = 0.1
    assert abs(loop.run(3)[-1]["window_ftle"]) < 1


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"k": 0}, "k"),
        ({"k": 1000}, "k"),
        ({"window": 1.5}, "window"),
        ({"window": 10, "every": 5}, "every"),
        ({"mode": "fast"}, "mode"),
        ({"clip": -1.0}, "clip"),
        ({"seed": 0.5}, "seed"),
        ({"model": lambda x: x}, "model"),
        ({"model": nn.Linear(2, 1).half()}, "model"),
        ({"loss": 3}, "loss"),
        ({"optimizer": torch.optim.LBFGS}, "optimizer"),
        ({"optimizer": functools.partial(torch.optim.Adam, amsgrad=True)}, "optimizer"),
        ({"optimizer": lambda parameters: 0.1}, "optimizer"),
        ({"optimizer": lambda parameters: torch.optim.SGD([next(parameters)], lr=0.1)}, "optimizer"),
    ],
)
def test_errors_name_the_argument(change, argument):
    model = change.pop("model", nn.Linear(2, 1))
    make = change.pop("optimizer", OPTIMIZERS["sgd"])
    optimizer = make(model.parameters()) if isinstance(model, nn.Module) else make([torch.zeros(1)])
    with pytest.raises(sx.ArgumentError) as caught:
        sx.Monitor(model, change.pop("loss", nn.functional.mse_loss), optimizer, **change)
    assert caught.value.argument == argument


def test_steps_that_cannot_be_measured():
    loop = Loop(OPTIMIZERS["sgd"])
    with pytest.raises(sx.ArgumentError, match="no gradients"):
        loop.monitor.step(loop.batches[0])
    loop.loss(loop.model(loop.batches[0][0]), loop.batches[0][1]).backward()
    with pytest.raises(sx.ArgumentError, match="batch: got Tensor"):
        loop.monitor.step(loop.batches[0][0])
    with torch.autocast("cpu"), pytest.raises(sx.ArgumentError, match="autocast"):
        loop.monitor.step(loop.batches[0])
    loop.monitor.close()


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e9, 0.0])
def test_orthonormal_bundles(condition):
    torch.manual_seed(0)
    V = torch.randn(3, 20, dtype=torch.float64)
    V[2] = V[0] + V[1] + (V[2] / condition if condition else 0)
    new, diagonal = orthonormalise([[V[:, :12].reshape(3, 3, 4), V[:, 12:]]])
    Q = torch.cat([part.flatten(1) for part in new[0]], 1)
    rank = 3 if condition else 2
    torch.testing.assert_close(Q[:rank] @ Q[:rank].T, torch.eye(rank, dtype=torch.float64), rtol=0, atol=1e-13)
    R = torch.linalg.qr(V.T)[1].diagonal().abs()
    if condition:
        torch.testing.assert_close(diagonal, R, rtol=1e-6, atol=0)
    else:
        assert diagonal[2] < 1e-12


def test_log_function_and_progress():
    seen = []
    loop = Loop(OPTIMIZERS["sgd"], window=2, log_fn=lambda found, step: seen.append((step, found)))
    found = [f for f in loop.run(6) if f]
    assert [step for step, _ in seen] == [1, 3, 5]
    assert [f for _, f in seen] == found
    assert all(a["first_step"] + 2 == b["first_step"] for a, b in pairwise(found))
