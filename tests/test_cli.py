"""The command line: quick to answer, plain in its errors, and doing the work."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import xarray as xr

import separatrix as sx

SOURCE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1))

def data():
    g = torch.Generator().manual_seed(1)
    return torch.randn(40, 2, generator=g), None

def broken():
    raise RuntimeError("from the user's own code")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(SOURCE)
    return tmp_path


def call(*arguments, cwd, check=0):
    command = [sys.executable, "-c", "from separatrix.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=cwd, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == check, done.stderr
    return done


def best_time(command):
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - began)
    return min(times)


def test_help_is_quick_and_without_torch():
    program = Path(sys.executable).with_name("separatrix")
    assert best_time([program, "--help"]) < 0.3
    listing = subprocess.run(
        [sys.executable, "-X", "importtime", program, "--help"], capture_output=True, text=True, check=True
    )
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in listing.stderr.splitlines()}
    assert "typer" in loaded and not loaded & {"torch", "numpy", "matplotlib", "xarray", "sklearn", "rich"}


def test_version_and_commands(folder):
    assert call("--version", cwd=folder).stdout.startswith("separatrix 0.")
    text = call("--help", cwd=folder).stdout
    assert "ftle" in text and "report" in text


def test_ftle_on_a_grid_is_that_of_the_library(folder):
    done = call(
        "ftle", "mine.py:net", "--grid", -1, 1, -2, 2, "--shape", 7, "--layers", "all", "-k", "all", "-q", cwd=folder
    )
    assert "wrote field.nc" in done.stdout and "checked 3 points" in done.stdout and "Traceback" not in done.stderr
    found = xr.load_dataset(folder / "field.nc")
    scope: dict = {}
    exec(SOURCE, scope)
    expected = sx.ftle(scope["net"]().eval(), sx.grid((-1, 1), (-2, 2), shape=(7, 7)), layers="all", k="all")
    xr.testing.assert_allclose(found[["stretch", "status"]], expected[["stretch", "status"]])


def test_ftle_at_test_inputs_with_weights(folder):
    scope: dict = {}
    exec(SOURCE, scope)
    model = scope["net"]()
    with torch.no_grad():
        model[0].weight.mul_(3)
    torch.save(model.state_dict(), folder / "w.pt")
    where = ["--data", "mine.py:data", "--points", 5, "--layers", "1#1", "--layers", "output", "--out", "at.nc"]
    call("ftle", "mine.py:net", "--weights", "w.pt", *where, "-q", cwd=folder)
    found = xr.load_dataset(folder / "at.nc")
    assert found.sizes["point"] == 5 and list(found["layer"].values) == ["1#1", "output"]
    X = sx.data.load(f"{folder / 'mine.py'}:data").X_test[:5]
    expected = sx.ftle(model.eval(), X, layers=["1#1", "output"])
    xr.testing.assert_allclose(found["stretch"], expected["stretch"])


def test_report_on_a_model(folder):
    done = call(
        "report", "mine.py:net", "--data", "mine.py:data", "--resolution", 12, "--out", "sub/r.html", cwd=folder
    )
    # the field, its ridges at the last hidden layer and at the output, and the points
    assert "wrote sub/r.html and 4 netCDF files" in done.stdout
    assert "mine.py:net" in (folder / "sub/r.html").read_text() and "ftle" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ftle", "mine.py:nett", "--grid", 0, 1, 0, 1], "no 'nett'"),
        (["ftle", "mine.py:net"], "neither of --data and --grid"),
        (["ftle", "mine.py:net", "--grid", 0, 1, 0, 1, "--layers", "7"], "layers: got '7'"),
        (["ftle", "mine.py:net", "--grid", 0, 1, 0, 1, "-k", "two"], "k: got 'two'"),
        (["ftle", "mine.py:net", "--grid", 0, 1, 0, 1, "--out", "no/where.nc"], "make it first"),
        (["report", "mine.py:net", "--data", "nowhere"], "SEPARATRIX_DATA"),
        (["report", "mine.py:net", "--data", "digits"], "rejects"),
        (["report", "mine.py:net", "--data", "disc", "--weights", "none.pt"], "no such file"),
        (["report", "mine.py:net", "--data", "disc", "--loss", "crossentropy"], "choose from cross_entropy, nll_loss"),
    ],
)
def test_unusable_arguments_end_in_one_message(folder, arguments, words):
    done = call(*arguments, "-q", cwd=folder, check=64)
    assert words in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_users_own_errors_keep_their_traceback(folder):
    done = call("ftle", "mine.py:broken", "--grid", 0, 1, 0, 1, cwd=folder, check=1)
    assert "Traceback" in done.stderr and "from the user's own code" in done.stderr


def test_unknown_options_are_a_usage_error(folder):
    assert "No such option" in call("report", "--colour", cwd=folder, check=64).stderr


def test_the_demonstration(tmp_path):
    began = time.perf_counter()
    done = call("report", "--resolution", 40, "--points", 100, "--out", "demo.html", "-q", cwd=tmp_path)
    assert time.perf_counter() - began < 120
    text = (tmp_path / "demo.html").read_text()
    assert "Multilayer perceptron on disc" in text and "Multilayer perceptron on digits" in text
    assert "could not be made" not in text and done.stderr == ""
    assert len(list(tmp_path.glob("demo-*.nc"))) == 12
