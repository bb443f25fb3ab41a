"""Data by name, and objects by reference."""

import sys

import numpy as np
import pytest
import torch

from separatrix.data import Problem, disc, load, resolve
from separatrix.results.errors import ArgumentError

SOURCE = """
from __future__ import annotations
from dataclasses import dataclass
import torch
import neighbour

@dataclass
class Holder:
    value: int = 3

def data():
    return torch.arange(10.0).reshape(5, 2), torch.tensor([0, 1, 0, 1, 1])

def nothing():
    return 3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "neighbour.py").write_text("x = 1\n")
    (tmp_path / "mine.py").write_text(SOURCE)
    return tmp_path / "mine.py"


def test_names_of_the_built_in_sets():
    assert load("disc", seed=4).seed == 4
    assert len(load("digits").classes) == 10
    p = disc(10)
    assert load(p) is p


def test_arrays_pairs_and_callables(tmp_path, file):
    np.savez(tmp_path / "a.npz", X=np.zeros((4, 2)))
    assert isinstance(load(tmp_path / "a.npz"), Problem)
    p = load((torch.zeros(5, 3), None))
    assert p.input_shape == (3,) and p.y_train is None
    p = load(f"{file}:data")
    assert p.name == "data" and len(p.X_train) + len(p.X_test) == 5 and p.classes == ("0", "1")


def test_references_leave_the_import_path_as_it_was(file):
    before = list(sys.path)
    assert resolve(f"{file}:Holder")().value == 3
    assert resolve("torch.nn:Linear") is torch.nn.Linear
    assert resolve("torch:nn.Linear") is torch.nn.Linear
    assert sys.path == before


def test_a_failure_in_the_users_code_is_raised_as_it_is(tmp_path):
    (tmp_path / "bad.py").write_text("import no_such_module_of_mine\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_mine"):
        resolve(f"{tmp_path / 'bad.py'}:x")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "disc"),
        ("mnits", "SEPARATRIX_DATA"),
        ("mine.py", "file.py:callable"),
        ("no_such_package.at_all:data", "no_such_package"),
        ("torch.nn:Linaer", "no 'Linaer'"),
        ("missing.py:data", "no such file"),
        ("missing.npz", "no such file"),
        ("{file}:nothing", "return"),
        ("{file}:", "package.module:name"),
    ],
)
def test_unknown_data_is_an_error_that_helps(file, spec, words):
    with pytest.raises(ArgumentError, match=words) as caught:
        load(spec.format(file=file))
    assert caught.value.argument == "data"
