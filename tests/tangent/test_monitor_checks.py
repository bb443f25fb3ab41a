"""What the monitor notices in the middle of a window, and that differences go through all that exact products do."""

import functools
import math
import warnings

import pytest
import torch
from torch import nn

import separatrix as sx

MSE = nn.functional.mse_loss
MODES = pytest.mark.parametrize("mode", ["exact", "difference"])
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def pairs(count, dtype=torch.float64, inputs=2):
    generator = torch.Generator().manual_seed(3)
    drawn = [
        (torch.randn(8, inputs, generator=generator), torch.randn(8, 1, generator=generator)) for _ in range(count)
    ]
    return [(x.to(dtype), y.to(dtype)) for x, y in drawn]


def network(dtype=torch.float64, middle=nn.Tanh):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 6), middle(), nn.Linear(6, 1)).to(dtype)


def train(model, optimizer, monitor, batches, *, loss=MSE, between=None, clip=None, told=None):
    """Train a window long; ``between(i)`` runs before the monitor's step, ``told(i)`` says which batch it is given."""
    found = None
    for i, (x, y) in enumerate(batches):
        optimizer.zero_grad()
        monitor.before_forward()
        loss(model(x), y).backward()
        if between:
            between(i)
        found = monitor.step(told(i) if told else (x, y))
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    return found


@DTYPES
@MODES
@pytest.mark.parametrize("fault", ["clipped", "clipped and told", "stale", "scaled", "not zeroed"])
def test_gradients_that_go_wrong_within_a_window(fault, mode, dtype):
    model, batches = network(dtype), pairs(6, dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    clip = 0.1 if fault == "clipped and told" else None
    monitor = sx.Monitor(model, MSE, optimizer, window=6, mode=mode, clip=clip)
    held = []

    def between(i):
        gradients = [p.grad for p in model.parameters()]
        if i == 0:
            held.extend(g.clone() for g in gradients)
        elif fault == "scaled":
            torch._foreach_mul_(gradients, 3.0)
        elif fault == "not zeroed":
            torch._foreach_add_(gradients, held)
        elif fault.startswith("clipped"):
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)

    words = {
        "clipped": r"gradients that are 0\.\d+ of the loss's; for clipping",
        "clipped and told": "gradients that are clipped already",
        "stale": "differ from the loss's on the batch by",
        "scaled": "gradients that are 3 times the loss's",
        "not zeroed": r"differ from the loss's on the batch by .*zero_grad",
    }[fault]
    with pytest.raises(sx.ArgumentError, match=words):
        train(
            model, optimizer, monitor, batches, between=between, clip=clip,
            told=lambda i: batches[0] if fault == "stale" else batches[i],
        )  # fmt: skip
    assert held  # the first step had passed


def counted(model):
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_an_undisturbed_step_by_differences_is_one_more_gradient():
    """Linear regression on one batch: the curvature is that of the first step, and nothing has to be verified again."""
    batches = pairs(1) * 5
    model = nn.Linear(2, 1).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = sx.Monitor(model, MSE, optimizer, window=5, mode="difference")
    calls = counted(model)
    train(model, optimizer, monitor, batches)
    # loop and difference, and the exact product of the first step
    assert len(calls) == 5 * 2 + 1
    # a batch of ten times the size has a hundred times the curvature: one look, and no complaint
    calls.clear()
    x, y = batches[0]
    train(model, optimizer, monitor, [(x, y), (x, y), (10 * x, y), (10 * x, y), (x, y)])
    assert len(calls) == 5 * 2 + 2


def test_kinks_on_the_way_of_a_difference_do_not_count():
    """The gradient of |w| jumps at 0: within the small way the difference would be 2 / h, where the derivative is 0."""

    class Kink(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))

        def forward(self, x):
            return 0.5 * x * self.w**2 + self.w.abs()

    def total(output, target):
        return (output - 0 * target).sum()

    for kinks in ((0,), (1,), (0, 2)):
        model = Kink()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor = sx.Monitor(model, total, optimizer, window=4, mode="difference")
        towards = -float(monitor._bundle[0][0])
        for i in range(4):
            with torch.no_grad():
                # next to the kink, which the perturbation leads over
                model.w.fill_(1e-12 * towards if i in kinks else 1.0)
            x = torch.ones(1, dtype=torch.float64)
            found = train(model, optimizer, monitor, [(x, x)], loss=total)
        assert found["window_ftle"] == pytest.approx(math.log(0.9), abs=1e-6)
        assert (found["product_error"] > 1e6) == (0 in kinks)


@MODES
def test_what_rounding_leaves_of_gradients_at_a_minimum_is_no_fault(mode):
    model = nn.Linear(2, 1, bias=False).double()
    x = pairs(1)[0][0]
    y = model(x).detach()
    monitor = sx.Monitor(model, MSE, torch.optim.SGD(model.parameters(), lr=0.1), window=1, mode=mode)
    for off, fine in ((1e-16, True), (1e-10, False)):
        model.weight.grad = torch.full_like(model.weight, off)
        if fine:
            assert math.isfinite(monitor.step((x, y))["one_step_growth"])
        else:
            with pytest.raises(sx.ArgumentError, match="where those of the loss are zero"):
                monitor.step((x, y))


def test_differences_need_gradients_to_rounding():
    """What exact products may overlook, as their gradients are their own."""
    for mode in ("exact", "difference"):
        model, (batch,) = network(), pairs(1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor = sx.Monitor(model, MSE, optimizer, window=1, mode=mode)
        MSE(model(batch[0]), batch[1]).backward()
        model[0].weight.grad[0, 0] *= 1 + 1e-7
        if mode == "exact":
            assert monitor.step(batch)
        else:
            with pytest.raises(sx.ArgumentError, match=r'by \de-\d+%; differences .* agree to rounding: give mode="ex'):
                monitor.step(batch)


@MODES
def test_gradients_that_a_scaler_will_skip_leave_the_window_out(mode):
    """Infinite gradients are ordinary under a GradScaler, which then takes no step."""
    model, batches = network(), pairs(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = sx.Monitor(model, MSE, optimizer, window=2, mode=mode)
    found = []
    for i, (x, y) in enumerate([batches[0], *batches]):
        optimizer.zero_grad()
        MSE(model(x), y).backward()
        if i == 0:
            model[0].bias.grad[0] = math.inf
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            found.append(monitor.step((x, y)))
        assert any("0 optimizer steps" in str(w.message) for w in seen) == (i == 1)
        if i:
            optimizer.step()
    assert found[:3] == [None] * 3 and math.isfinite(found[3]["window_ftle"])
    # at the last step of a window there is no number
    monitor = sx.Monitor(model, MSE, optimizer, window=1, mode=mode)
    model[0].bias.grad[0] = math.inf
    assert math.isnan(monitor.step(batches[-1])["one_step_growth"])


@pytest.mark.parametrize(
    "wrap",
    [
        functools.partial(torch.compile, backend="aot_eager"),
        nn.DataParallel,
        lambda m: nn.DataParallel(torch.compile(m)),
    ],
    ids=["compiled", "parallel", "both"],
)
def test_wrapped_models_are_what_they_were_made_of(wrap):
    results = []
    for wrapped in (False, True):
        model = network()
        seen = wrap(model) if wrapped else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor = sx.Monitor(seen, MSE, optimizer, window=3)
        # the loop's own passes are not compiled: what they give is the same
        results.append(train(model, optimizer, monitor, pairs(3)))
    assert results[0] == results[1]


def quadratic(curvatures, dtype):
    """A loss 1/2 sum c_i (w_i - a_i)^2, by rows that look at one weight each."""
    model = nn.Linear(len(curvatures), 1, bias=False).to(dtype)
    with torch.no_grad():
        model.weight.copy_(torch.linspace(0.3, 0.7, len(curvatures))[None])
    rows = torch.diag(torch.tensor(curvatures, dtype=torch.float64).sqrt().to(dtype))
    return model, (rows, torch.ones(len(curvatures), 1, dtype=dtype))


def half_squares(output, target):
    return 0.5 * (output - target).square().sum()


@DTYPES
@MODES
@pytest.mark.parametrize(("curvatures", "k"), [((3.0,), 1), ((3.0, 0.75), 2)], ids=["one", "two"])
def test_steps_that_remove_a_direction_are_counted(curvatures, k, mode, dtype):
    """Where the curvature is 1 / lr nothing is left of a direction but rounding."""
    model, batch = quadratic(curvatures, dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=1 / 3)
    monitor = sx.Monitor(model, half_squares, optimizer, window=4, k=k, mode=mode)
    train(model, optimizer, monitor, [batch] * 2, loss=half_squares)
    resumed = sx.Monitor(model, half_squares, optimizer, window=4, k=k, mode=mode)
    resumed.load_state_dict(monitor.state_dict())
    monitor.close()
    assert train(model, optimizer, resumed, [batch] * 2, loss=half_squares)["singular_steps"] == 4
    optimizer.param_groups[0]["lr"] = 0.3
    found = train(model, optimizer, resumed, [batch] * 4, loss=half_squares)
    # 1 - 0.3 * 3 = 0.1 is small, and a number
    assert "singular_steps" not in found
    if k == 1:
        assert found["window_ftle"] == pytest.approx(math.log(0.1), rel=1e-6 if mode == "exact" else 1e-2)


def growing(rate):
    return lambda output, target: (rate * output).exp().mean() + 0 * target.sum()


def test_the_error_of_products_is_that_of_a_difference():
    """With a loss exp(s w) the difference over h is off by (exp(s h) - 1) / (s h) - 1 = s h / 2."""
    x, errors = torch.ones(3, 1, dtype=torch.float64), []
    for rate, weight in ((100.0, -0.2), (100.0, -1.0), (400.0, -0.2)):
        model = nn.Linear(1, 1, bias=False).double()
        nn.init.constant_(model.weight, weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        options = {"window": 4, "mode": "difference"}
        monitor = sx.Monitor(model, growing(rate), optimizer, **options)
        train(model, optimizer, monitor, [(x, x)] * 2, loss=growing(rate))
        # and a checkpoint in the window keeps it
        resumed = sx.Monitor(model, growing(rate), optimizer, **options)
        resumed.load_state_dict(monitor.state_dict())
        monitor.close()
        found = train(model, optimizer, resumed, [(x, x)] * 2, loss=growing(rate))
        h = torch.finfo(torch.float64).eps ** 0.5 * (1 + abs(weight))
        errors.append((found["product_error"], rate * h / 2))
    for measured, wanted in errors:
        assert measured == pytest.approx(wanted, abs=1e-8)  # rounding of s w, eps / h


def both(make, batches, **options):
    found = []
    for mode in ("exact", "difference"):
        model = make()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        monitor = sx.Monitor(model, MSE, optimizer, window=len(batches), k=2, mode=mode, **options)
        torch.manual_seed(7)
        found.append(train(model, optimizer, monitor, batches, clip=options.get("clip")))
    return [[f["window_ftle_1"], f["window_ftle_2"]] for f in found]


def test_differences_are_clipped_as_exact_products_are():
    batches = pairs(6)
    exact, estimated = both(network, batches, clip=0.2)
    assert estimated == pytest.approx(exact, abs=1e-6)
    # and clipping is not without effect
    assert abs(exact[0] - both(network, batches)[0][0]) > 1e-3


def test_differences_draw_the_masks_of_the_loop():
    make = functools.partial(network, middle=functools.partial(nn.Dropout, 0.5))
    exact, estimated = both(make, pairs(6))
    assert estimated == pytest.approx(exact, abs=1e-6)


def test_a_weight_without_gradient_keeps_its_perturbation():
    """Decay does not reach it either: the plane of both weights shrinks by the other's factor alone."""

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = (nn.Parameter(torch.ones(1, dtype=torch.float64)) for _ in range(2))

        def forward(self, x):
            return self.used * x

    model, x = Half(), torch.ones(4, 1, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1.0)
    monitor = sx.Monitor(model, MSE, optimizer, window=5, k=2)
    found = train(model, optimizer, monitor, [(x, 0 * x)] * 5)
    # the loss is w^2
    assert found["window_ftle_1"] + found["window_ftle_2"] == pytest.approx(math.log(1 - 0.1 * (2 + 1)), rel=1e-12)
