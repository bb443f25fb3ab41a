"""The training section of the page: when there is one, that its numbers are the library's, and what it refuses."""

import math
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import nn

import separatrix as sx
from separatrix.data import Problem, digits, disc
from separatrix.report import Options, load_loss, write
from separatrix.report.along_training import along_training, told
from separatrix.report.context import Context
from separatrix.report.continued_training import STABLE, followed
from separatrix.report.one_exponent import one_exponent
from separatrix.report.training_recipe import OPTIMIZERS, fitting, training_recipe
from separatrix.results.errors import ArgumentError
from separatrix.tangent.bundles import random_bundle
from separatrix.testing.untouched import untouched

MINUS = str.maketrans("−", "-")


@pytest.fixture
def make(tmp_path, net):
    """A function of a model, data and options that gives the words of the section and the result."""

    def made(model=None, problem=None, large=100_000, **options):
        given = Options(**({"seconds": math.inf, "loss": "mse_loss", "steps": 40} | options))
        model = net(2, 6, 6, 1).eval() if model is None else model
        context = Context("d", model, problem or disc(400), given, tmp_path, "page")
        asked = training_recipe(given, context.problem)
        ds, notes = followed(context, asked, large=large)
        return " ".join(told(ds, asked, given) + notes), ds

    return made


@pytest.fixture
def page(tmp_path, net):
    """A function of options that gives the whole section and the result that was saved."""

    def made(model=None, large=100_000, **options):
        given = Options(**({"seconds": math.inf, "loss": "mse_loss", "steps": 40} | options))
        context = Context("d", model or net(2, 6, 6, 1).eval(), disc(400), given, tmp_path, "page")
        section = along_training(context, large=large)
        assert context.files == ["page-d-training.nc"] and len(section.figures) == 2
        return section, xr.load_dataset(tmp_path / "page-d-training.nc")

    return made


def test_numbers_are_those_of_the_library(page, net):
    section, ds = page(rate=0.1, optimizer="heavy-ball", seed=3)
    data, rule = disc(400), sx.optim.HeavyBall(lr=0.1, momentum=0.9)
    pair = data.X_train, data.y_train[:, None]
    run = sx.Training(net(2, 6, 6, 1), F.mse_loss, pair, rule)
    state = run.state_of()
    own = sx.lyapunov(run, state, steps=40, k=5, transient=20, window=2, seed=3)
    for name in ("exponent", "history", "window_exponent", "standard_error", "status"):
        np.testing.assert_allclose(ds[name], own[name], rtol=1e-9, atol=1e-12, equal_nan=True)
    for t in range(60):
        if t >= 20:
            np.testing.assert_allclose(ds["loss"][0, t - 20], run.loss(state, t)[0], rtol=1e-9)
        state = run.step(state, t)
    said = " ".join(section.prose)
    (label, value), (_, losses) = section.facts
    largest = float(own["exponent"][0, 0])
    assert label == "largest exponent of training over 40 steps" and value.endswith(" /step")
    assert float(value.split()[0].translate(MINUS)) == pytest.approx(largest, rel=0.005)
    assert [float(v) for v in losses.split(" → ")] == pytest.approx(ds["loss"].values[0, [0, -1]], rel=0.005)
    rows = section.tables[0].rows
    shown = [float(row[1].translate(MINUS)) for row in rows]
    assert shown == pytest.approx(own["exponent"].values[0], rel=0.005)
    assert "heavy ball with momentum 0.9, learning rate 0.1" in said
    assert f"40 steps with all {len(data.X_train)} training inputs at every step" in said
    assert "20 steps before these, which are left out, fill the optimizer's memory" in said
    assert "this page chose the batches: give those of your own training" in said
    assert "not of the map from inputs to outputs" in said


def test_sharpness_is_that_of_the_dense_hessian(make, net):
    said, ds = make(rate=0.1, steps=8)
    data = disc(400)
    run = sx.Training(net(2, 6, 6, 1), F.mse_loss, (data.X_train, data.y_train[:, None]), sx.optim.GradientDescent(0.1))
    states = [run.state_of()]
    for t in range(8):
        states.append(run.step(states[-1], t))
    first, last = (float(torch.linalg.eigvalsh(run.hessian(s)[0])[-1]) for s in (states[0], states[-1]))
    assert ds.attrs["sharpness_first"] == pytest.approx(first, rel=1e-6)
    assert ds.attrs["sharpness_last"] == pytest.approx(last, rel=1e-6)
    assert f"{first:.4g} before the first step and {last:.4g} after the last" in said
    assert ds.attrs["stable_sharpness"] == pytest.approx(20) and "stops converging at 20" in said
    assert "stable_sharpness" not in make(optimizer="adam", steps=8)[1].attrs
    assert "stable_sharpness" not in make(batch=64, steps=8)[1].attrs


@pytest.mark.parametrize("name", ["heavy-ball", "nesterov"])
def test_the_stated_limits_of_stability_are_right(name):
    """One weight, curvature h: the optimizer's matrix is stable just below the limit and unstable just above it."""
    rule = {"heavy-ball": sx.optim.HeavyBall, "nesterov": sx.optim.Nesterov}[name](lr=1.0, momentum=0.9)
    radii = []
    for h in (0.999 * STABLE[name], 1.001 * STABLE[name]):
        state, V = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
        M = rule.tangent(state, torch.zeros(1, dtype=torch.float64), V, lambda v, h=h: h * v)
        radii.append(float(torch.linalg.eigvals(M).abs().max()))
    assert radii[0] < 1 < radii[1]


def test_without_a_loss_there_is_no_section(context):
    assert along_training(context) is None
    assert context.files == [] and "loss" not in dict(context.options.rows())


class Careless(nn.Module):
    """Dropout, statistics and a buffer, in training mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(2, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 1))
        self.body[1].running_mean.normal_()

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("large", [1, 100_000])
def test_the_model_is_a_guest(as_user, make, large):
    model = Careless().eval()
    model(torch.ones(3, 2)).sum().backward()
    with untouched(model):
        said, ds = make(model, large=large, optimizer="adam", steps=10, batch=10**6)
    assert "in evaluation mode: dropout is off" in said
    assert int(ds.attrs["steps"]) == 10 and ds["loss"].values[0, -1] < ds["loss"].values[0, 0]
    assert (ds.attrs["method"] == "monitor") == (large == 1)
    broken = Careless().eval()
    broken.register_buffer("calls", torch.zeros(1))
    with untouched(broken), pytest.raises(ArgumentError, match="loss"):
        make(broken, large=large, loss="binary_cross_entropy", problem=replace(disc(100), y_train=torch.zeros(80, 3)))


def test_large_models_go_through_the_monitor(make):
    """Linear regression: the Hessian is constant, and so the growth of the first perturbation is known."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1).double()
    X = torch.randn(50, 3, dtype=torch.float64) * torch.tensor([1.0, 2.0, 0.3], dtype=torch.float64)
    problem = Problem("d", "", X, X.sum(1), X, X.sum(1))
    said, ds = make(model, problem, large=4, rate=0.05, steps=30, batch=50, seed=2)
    A = torch.cat([X, torch.ones(50, 1, dtype=torch.float64)], 1)
    M = torch.eye(4, dtype=torch.float64) - 0.05 * 2 * A.T @ A / 50
    v = torch.cat([parts[0].flatten() for parts in random_bundle(list(model.parameters()), 1, [1, 1], 2)])
    growth = [float(torch.linalg.vector_norm(torch.linalg.matrix_power(M, t) @ v).log()) / t for t in range(1, 31)]
    np.testing.assert_allclose(ds["history"].values[0, :, 0], growth, rtol=1e-9)
    whole, other = make(model, problem, rate=0.05, steps=30, seed=2)
    np.testing.assert_allclose(ds["loss"], other["loss"], rtol=1e-9)
    assert "one perturbation alone is carried, in float64" in said and ds.sizes["index"] == 1
    assert "exact derivative of every step" in whole and other.sizes["index"] == 4
    assert "come together" in said and ds.attrs["method"] == "monitor"


def test_the_time_ends_the_loop_of_large_models(make):
    _, ds = make(large=1, steps=None, seconds=1e-9)
    assert int(ds.attrs["steps"]) == 8


def test_the_time_decides_on_steps_and_batches(make):
    said, ds = make(steps=None, seconds=1e-9)
    assert int(ds.attrs["steps"]) == 8 and int(ds.attrs["batch"]) == 16
    assert f"8 steps with batches of 16 of {len(disc(400).X_train)} inputs" in said
    assert "this page chose the optimizer, the learning rate, the batches and the steps: give those" in said


def test_memory_decides_on_rows_and_batches(make, net):
    X = torch.randn(2000, 20)
    said, ds = make(net(20, 100, 1), Problem("d", "", X, X[:, 0], X, None), memory="1MB", steps=8)
    rows = 10**6 // (4 * 8 * 21)
    assert f"The memory allowed for {rows:,} of the 2,000 training inputs" in said
    assert int(ds.attrs["rows"]) == rows and int(ds.attrs["batch"]) == 16
    with pytest.raises(ArgumentError, match="memory"):
        make(net(2, 40, 1), large=1, memory="2KB")


@pytest.mark.parametrize("large", [1, 100_000])
def test_training_that_diverges_is_told_in_words(page, large):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    section, ds = page(model, large=large, rate=1e6, steps=200)
    ended = int(ds["last_step"][0])
    assert 0 <= ended < 200
    assert f"left the floating-point numbers in step {ended + 1}: it diverged" in " ".join(section.prose)
    assert section.facts[0][1] == "none, it diverged"
    assert "left the floating-point numbers" in section.tables[0].rows[0][3]


def test_one_exponent_says_how_far_it_may_be_believed():
    names = dict(enumerate(["ok", "short", "transient", "unconverged", "singular", "missing", "nonfinite"]))

    def status(growth):
        ds = one_exponent(np.asarray(growth, dtype=float), np.zeros(len(growth)), 2)
        return names[int(ds["status"][0, 0])], float(ds["exponent"][0, 0]), float(ds["standard_error"][0, 0])

    noise = np.random.default_rng(0).normal(size=160)
    found, value, error = status(noise)
    means = noise.reshape(16, 10).mean(1)
    assert found == "ok" and value == pytest.approx(noise.mean()) and error == pytest.approx(means.std(ddof=1) / 4)
    assert status(noise[:7])[0] == "short"
    found, _, error = status(noise + np.repeat([0, 9], 80))
    assert found == "transient" and math.isnan(error)
    assert status([1, -math.inf, 1, 1, 1, 1, 1, 1])[:2] == ("singular", -math.inf)
    assert status([1, 2, math.nan])[0] == "nonfinite"


def problem(y, classes=()):
    X = torch.zeros(len(y), 2)
    return Problem("p", "", X, y, X, y, classes)


SIGNS, NUMBERS = torch.tensor([-1.0, 1.0, 1.0]), torch.tensor([2, 0, 1])


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "classes", "expected"),
    [
        ("cross_entropy", 3, NUMBERS, 3, [2, 0, 1]),
        ("cross_entropy", 2, SIGNS, 2, [0, 1, 1]),
        ("cross_entropy", 2, torch.tensor([[0.2, 0.8]] * 3), 0, [[0.2, 0.8]] * 3),
        ("mse_loss", 3, NUMBERS, 3, [[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        ("mse_loss", 1, SIGNS, 2, [[-1], [1], [1]]),
        ("mse_loss", 2, SIGNS, 2, [[1, 0], [0, 1], [0, 1]]),
        ("huber_loss", 1, torch.tensor([0.5, 1.5, 2.0]), 0, [[0.5], [1.5], [2.0]]),
        ("binary_cross_entropy_with_logits", 1, SIGNS, 2, [[0], [1], [1]]),
    ],
)
def test_targets_get_the_form_that_the_loss_takes(loss, outputs, y, classes, expected):
    found = fitting(load_loss(loss), torch.zeros(3, outputs), problem(y, tuple(map(str, range(classes)))))
    want = torch.tensor(expected)
    assert found.shape == want.shape and torch.equal(found.double(), want.double())
    assert math.isfinite(float(getattr(F, loss)(torch.full((3, outputs), 0.5), found)))


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "classes"),
    [
        ("cross_entropy", 1, SIGNS, 2),
        ("cross_entropy", 2, NUMBERS, 3),
        ("cross_entropy", 1, torch.tensor([0.1, 0.2, 0.3]), 0),
        ("mse_loss", 2, torch.tensor([0.1, 0.2, 0.3]), 0),
        ("binary_cross_entropy", 1, NUMBERS, 3),
    ],
)
def test_targets_of_another_form_are_refused(loss, outputs, y, classes):
    """A broadcast of (n, 1) against (n,) would be a loss of something else."""
    with pytest.raises(ArgumentError, match=f"loss: got {loss}, outputs of shape"):
        fitting(load_loss(loss), torch.zeros(3, outputs), problem(y, tuple(map(str, range(classes)))))


def test_modules_of_named_losses_are_those_losses():
    given = problem(SIGNS, ("-1", "+1"))
    assert fitting(nn.MSELoss(reduction="sum"), torch.zeros(3, 1), given).shape == (3, 1)
    assert fitting(nn.CrossEntropyLoss(), torch.zeros(3, 2), given).tolist() == [0, 1, 1]


def test_other_losses_get_the_targets_as_they_are():
    given = problem(SIGNS, ("-1", "+1"))
    assert fitting(lambda out, y: (out - y).abs().mean(), torch.zeros(3, 1), given) is SIGNS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "crossentropy"}, "loss: got 'crossentropy'; choose from cross_entropy, nll_loss, mse_loss"),
        ({"loss": 3}, "loss: got 3"),
        ({"loss": "nowhere.py:f"}, "no such file"),
        ({"loss": "mse_loss", "optimizer": "lbfgs"}, "choose from sgd, heavy-ball, nesterov, adam, adamw, rmsprop"),
        ({"loss": "mse_loss", "rate": -1.0}, "rate: got -1.0"),
        ({"loss": "mse_loss", "steps": 0}, "steps: got 0"),
        ({"loss": "mse_loss", "batch": True}, "batch: got True"),
        ({"rate": 0.1}, "give a loss with it"),
    ],
)
def test_unusable_options_are_refused_before_anything(tmp_path, net, options, words):
    with pytest.raises(ArgumentError, match=re.escape(words)):
        write(net(2, 3, 1), disc(100), out=tmp_path / "p.html", options=Options(**options))
    assert list(tmp_path.iterdir()) == []


def test_a_loss_needs_targets_and_weights(tmp_path, net, make):
    X = torch.randn(20, 2)
    with pytest.raises(ArgumentError, match=r"mse_loss, and .* no targets"):
        write(net(2, 3, 1), (X, None), out=tmp_path / "p.html", options=Options(loss="mse_loss"))
    with pytest.raises(ArgumentError, match="no weights to train"):
        make(lambda x: x)
    said, ds = make(net(2, 3, 1).requires_grad_(False), steps=8)
    assert "in the copy that is trained all of them are" in said and int(ds.attrs["weights"]) == 13
    with pytest.raises(ArgumentError, match=r"BatchNorm1d.*batch statistics"):
        make(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False), nn.Linear(3, 1)).eval())


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_each_optimizer_is_the_one_of_torch(make, net, name):
    """The loss along the steps is that of an ordinary loop."""
    _, ds = make(optimizer=name, steps=8)
    _, single = make(optimizer=name, steps=8, large=1, batch=10**6)
    model, data = net(2, 6, 6, 1).double(), disc(400)
    _, rate, kind = OPTIMIZERS[name]
    optimizer = kind(model.parameters(), lr=rate)
    before = 0 if name == "sgd" else 20
    assert ds.attrs["warm"] == single.attrs["warm"] == before
    for t in range(before + 8):
        optimizer.zero_grad()
        value = F.mse_loss(model(data.X_train.double()), data.y_train.double()[:, None])
        value.backward()
        optimizer.step()
        if t >= before:
            np.testing.assert_allclose(ds["loss"][0, t - before], float(value.detach()), rtol=1e-9)
            np.testing.assert_allclose(single["loss"][0, t - before], float(value.detach()), rtol=1e-3)


def test_an_empty_memory_is_filled_first(make):
    """The first step of Adam from an empty memory stretches by up to 1 / eps, which would be all that is seen."""
    for large in (1, 100_000):
        _, ds = make(optimizer="adam", steps=10, large=large)
        assert abs(float(ds["stretch"][0, 0])) < 2


@pytest.mark.parametrize("large", [1, 100_000])
def test_what_diverges_before_the_memory_is_full_is_told(make, large):
    said, _ = make(nn.Linear(2, 1), large=large, optimizer="heavy-ball", rate=1e30, steps=30)
    found = re.search(r"left the floating-point numbers in step (\d+)", said)
    assert 0 < int(found[1]) <= 20 and "it diverged" in said


def test_classes_outputs_and_half_precision(make):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body = nn.Linear(64, 10).to(torch.bfloat16)

        def forward(self, x):
            return {"logits": self.body(x.to(self.body.weight.dtype)), "other": x}

    said, ds = make(Two(), digits(), loss=nn.CrossEntropyLoss(), output="logits", steps=8, batch=100, large=1)
    assert ds.attrs["loss"] == "CrossEntropyLoss" and ds.attrs["precision"] == "float32"
    assert "half precision" in said


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda out, y: (out[:, 0] - y).square(), "which returns a Tensor of shape (2,); return one number"),
        (lambda out, y: 0.0, "which returns a float; return one number"),
        (lambda out: out.mean(), "takes 1 positional argument but 2 were given"),
        ("cross_entropy", "it is for classes, with an output for each of them"),
    ],
)
def test_a_loss_that_cannot_be_one_is_refused_before_the_fields(tmp_path, net, loss, words):
    with pytest.raises(ArgumentError, match=re.escape(words)) as error:
        write(net(2, 3, 1), disc(100), out=tmp_path / "p.html", options=Options(loss=loss))
    assert error.value.argument == "loss" and list(tmp_path.iterdir()) == []


def test_a_model_without_parameters_has_nothing_to_train(tmp_path, make):
    for ask in (
        lambda: make(nn.Tanh(), loss=lambda out, y: out.mean()),
        lambda: write(nn.Tanh(), disc(100), out=tmp_path / "p.html", options=Options(loss=lambda out, y: out.mean())),
    ):
        with pytest.raises(ArgumentError, match="model: got a Tanh without parameters; it has no weights to train"):
            ask()


def test_one_step_is_no_steps(page):
    section, _ = page(steps=1)
    said = " ".join(section.prose)
    assert "There was 1 step with" in said and "over this one step is" in said and "1 steps" not in said
    assert section.facts[0][0] == "largest exponent of training over 1 step"


def test_what_became_of_the_targets_is_told(make, net):
    assert "each class number became a row" in make(net(64, 10), digits(), steps=1, batch=8)[0]
    assert "became the numbers of their classes" in make(loss="binary_cross_entropy_with_logits", steps=1, batch=8)[0]
    assert "became" not in make(steps=1, batch=8)[0]
    assert "became" not in make(net(64, 10), digits(), loss="cross_entropy", steps=1, batch=8)[0]


def test_a_sharpness_that_is_left_out_is_told(make):
    said, ds = make(steps=8, batch=10**6, seconds=1e-9)
    assert "The sharpness was left out" in said and "sharpness_first" not in ds.attrs


def test_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nnet = torch.nn.Linear(2, 1)\n"
        "def halved(out, y):\n    return (out[:, 0] - y).square().mean() / 2\n"
    )
    words = [
        "report",
        "mine.py:net",
        "--data",
        "disc",
        "--loss",
        "mine.py:halved",
        "--optimizer",
        "adam",
        "--rate",
        "0.02",
    ]
    words += ["--steps", "9", "--batch", "50", "--resolution", "8", "--points", "10", "--seconds", "1", "-q"]
    done = subprocess.run(
        [sys.executable, "-c", "from separatrix.cli import main; main()", *words],
        capture_output=True, text=True, timeout=300, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ds = xr.load_dataset(tmp_path / "report-disc-training.nc")
    names = ("loss", "optimizer", "rate", "steps", "batch")
    assert [ds.attrs[name] for name in names] == ["halved", "adam", 0.02, 9, 50]
    page = (tmp_path / "report.html").read_text()
    assert "<h3>Along training</h3>" in page and "largest exponent of training over 9 steps" in page
    assert "<td>halved</td>" in page and "could not be made" not in page
