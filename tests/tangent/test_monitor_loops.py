"""The monitor in loops that are less than tidy: shared gradients, groups, loaders, and changes on the way."""

import warnings

import pytest
import torch
from torch import nn

import separatrix as sx

MSE = nn.functional.mse_loss


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)), dtype=torch.float64)


X, Y = draw(8, 3), draw(8, 1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def run(model, optimizer, batch, steps, **options):
    monitor, found = sx.Monitor(model, MSE, optimizer, window=steps, **options), None
    pairs = batch if isinstance(batch[0], tuple) else [batch]
    for _ in range(steps):
        optimizer.zero_grad()
        for x, y in pairs:
            (MSE(model(x), y) / len(pairs)).backward()
        found = monitor.step(batch)
        optimizer.step()
    return found


class Summed(nn.Module):
    """Two parameters that are added: autograd gives one tensor as the gradient of both."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(draw(3)), nn.Parameter(draw(1, 3)[0])
        self.c = nn.Parameter(draw(1))

    def forward(self, x):
        return x @ torch.tanh(self.a + self.b)[:, None] + self.c


def test_weights_that_share_a_gradient():
    made = [Summed() for _ in range(4)]
    wanted = run(made[0], torch.optim.SGD(made[0].parameters(), lr=0.1), (X, Y), 4)["window_ftle"]
    halves = [(X[:4], Y[:4]), (X[4:], Y[4:])]
    for model, batch, mode in (
        (made[1], (X, Y), "difference"),
        (made[2], halves, "exact"),
        (made[3], halves, "difference"),
    ):
        found = run(model, torch.optim.SGD(model.parameters(), lr=0.1), batch, 4, mode=mode)
        assert found["window_ftle"] == pytest.approx(wanted, abs=1e-6 if mode == "difference" else 1e-12)
        assert found.get("product_error", 0.0) < 1e-5


def test_a_batch_as_a_loader_gives_it():
    data = torch.utils.data.TensorDataset(X, Y)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in torch.utils.data.DataLoader(data, batch_size=4):
        assert isinstance(batch, list)
        MSE(model(batch[0]), batch[1]).backward()
        monitors = [sx.Monitor(model, MSE, optimizer, window=1) for _ in range(3)]
        one, two, three = (m.step(b) for m, b in zip(monitors, (batch, [batch], tuple(batch)), strict=True))
        assert one == two == three
        optimizer.zero_grad()


def test_groups_that_remember_differently():
    """Without momentum in the last layer, whose derivative is then that of gradient descent."""
    model = network()
    groups = [{"params": model[0].parameters(), "momentum": 0.9}, {"params": model[2].parameters(), "momentum": 0.0}]
    found = run(model, torch.optim.SGD(groups, lr=0.1), (X, Y), 6, k=3)
    twin = network()
    same = sx.Training(twin, MSE, (X, Y), torch.optim.SGD(
        [{"params": twin[0].parameters(), "momentum": 0.9}, {"params": twin[2].parameters(), "momentum": 0.0}], lr=0.1
    ))  # fmt: skip
    # from the same perturbations of the weights
    state = same.state_of()
    V = torch.cat([part[0].flatten(1) for part in _start(3)], 1)
    V = torch.cat([V, torch.zeros_like(V)], 1)[:, None]
    logs = torch.zeros(3, dtype=torch.float64)
    for t in range(6):
        state, V = same.tangent(state, V, t)
        V[..., same.parts["momentum"]][..., same.parameters["2.weight"].start :] = 0  # torch keeps no such memory
        Q, R = torch.linalg.qr(V[:, 0].T)
        logs += R.diagonal().abs().log()
        V = Q.T[:, None].contiguous()
    logs = logs.sort(descending=True).values  # as those of sx.lyapunov
    for i in range(3):
        assert found[f"window_ftle_{i + 1}"] == pytest.approx(float(logs[i]) / 6, abs=1e-10)


def _start(k):
    from separatrix.tangent.bundles import random_bundle

    return random_bundle(list(network().parameters()), k, [1] * 4, 0)


def test_what_changes_on_the_way_is_named():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = sx.Monitor(model, MSE, optimizer, window=1)
    MSE(model(X), Y).backward()
    monitor.step((X, Y))
    optimizer.param_groups[0]["momentum"] = 0.9
    with pytest.raises(sx.ArgumentError, match=r"^optimizer: got a momentum that was switched on; make a new monitor"):
        monitor.step((X, Y))
    model[0].weight.requires_grad_(False)
    monitor = sx.Monitor(model, MSE, optimizer, window=1)
    monitor.step((X, Y))
    model[0].weight.requires_grad_(True)
    with pytest.raises(sx.ArgumentError, match=r"^model: got '0.weight', which was not trained when"):
        monitor.step((X, Y))


def test_more_directions_than_weights():
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(
        sx.ArgumentError, match=r"^k: got 5; the first perturbations are of the weights, and there are 4"
    ):
        sx.Monitor(model, MSE, optimizer, k=5)
    assert sx.Monitor(model, MSE, optimizer, k=4).k == 4


def test_a_call_without_gradients_and_one_in_inference_mode():
    results = []
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor = sx.Monitor(model, MSE, optimizer, window=2, k=2)
        for _ in range(2):
            optimizer.zero_grad()
            MSE(model(X), Y).backward()
            with mode():
                found = monitor.step((X + 0, Y))  # made within the mode
            optimizer.step()
        results.append(found)
        optimizer.zero_grad()
        MSE(model(X), Y).backward()
        monitor.step((X, Y))  # nothing of inference mode is left behind
    assert results[0] == results[1] == results[2]


def test_an_exception_in_a_window_leaves_it_out_and_no_trace():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = sx.Monitor(model, MSE, optimizer, window=3)
    found = []
    for t in range(9):
        optimizer.zero_grad()
        MSE(model(X), Y).backward()
        if t == 4:
            with pytest.raises(sx.ArgumentError):
                monitor.step(X)
        elif t == 5:
            with pytest.warns(sx.SeparatrixWarning, match="window from step 3 is left out: 2 optimizer steps"):
                assert monitor.step((X, Y)) is None
        else:
            found.append(monitor.step((X, Y)))
        optimizer.step()
    assert [f["first_step"] for f in found if f] == [0] and torch.is_grad_enabled()


def test_masks_are_those_of_the_step_at_hand():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = sx.Monitor(model, MSE, optimizer, window=5)
    monitor.before_forward()
    MSE(model(X), Y).backward()
    monitor.step((X, Y))
    optimizer.step()
    optimizer.zero_grad()
    MSE(model(X), Y).backward()
    # the masks of the step before would give products of another loss
    with pytest.raises(sx.ArgumentError, match=r"dropout in '1'.*before_forward"):
        monitor.step((X, Y))


def test_rounded_gradients_of_autocast_are_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
    x = torch.randn(32, 4)
    y = model(x).detach() + 0.01 * torch.randn(32, 1)  # nearly fitted: what is left is small beside the rounding
    monitor = sx.Monitor(model, MSE, torch.optim.SGD(model.parameters(), lr=0.1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = MSE(model(x), y)
    value.backward()
    with pytest.raises(sx.ArgumentError, match=r"differ from the loss's on the batch by .*%.*autocast rounds"):
        monitor.step((x, y))


@pytest.mark.parametrize("told", [None, 0.05])
def test_gradients_that_change_before_the_optimizer_takes_them(told):
    """Clipping that the monitor was not told of, or told of and left out, would be a window of another training."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    monitor = sx.Monitor(model, MSE, optimizer, window=4, clip=told)

    def window(clip):
        found = []
        for _ in range(4):
            optimizer.zero_grad()
            MSE(model(X), Y).backward()
            found.append(monitor.step((X, Y)))
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert window(told)[-1] is not None
    with pytest.warns(sx.SeparatrixWarning, match="the window from step 4 is not that of this training"):
        assert window(0.05 if told is None else None) == [None] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert window(told)[-1]["first_step"] == 8
        optimizer.zero_grad()
        MSE(model(X), Y).backward()
        monitor.step((X, Y))
        monitor.close()
        model[0].weight.grad.mul_(2)
        optimizer.step()


def test_a_state_that_is_no_monitors():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = sx.Monitor(model, MSE, optimizer)
    for state in ({}, optimizer.state_dict(), None):
        with pytest.raises(sx.ArgumentError, match=r"state: got .* without bundle, .*settings"):
            monitor.load_state_dict(state)
