"""What a careless user hands over: each mistake is named, and what is not one is taken."""

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.data import load
from separatrix.report import Options, load_model
from separatrix.report.answers import looks_like_classes, shaped
from separatrix.results.errors import ArgumentError

X, Y = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2
HOLES = X.clone()
HOLES[4, 1] = torch.nan


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"X": HOLES, "y": Y}, "NaN or infinity in 1 of"),
        ({"X_train": X, "y_train": Y[:9], "X_test": X, "y_test": Y}, "20 training inputs and 9 targets"),
        ({"X_train": X, "X_test": X[:, :2]}, r"training inputs \(3,\) and test inputs \(2,\)"),
        ({"X_train": X[:, 0], "X_test": X[:, 0]}, r"inputs of shape \(20,\)"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, files, words):
    np.savez(tmp_path / "a.npz", **{name: value.numpy() for name, value in files.items()})
    with pytest.raises(ArgumentError, match=words) as caught:
        load(tmp_path / "a.npz")
    assert caught.value.argument == "data"


def test_functions_and_classes_that_need_arguments(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def data(count, noise=0.1): ...\n"
        "def broken(): raise TypeError('from within')\n"
        "class Net:\n    def __init__(self, width): ...\n"
    )
    with pytest.raises(ArgumentError, match="needs the arguments count;"):
        load(f"{tmp_path / 'mine.py'}:data")
    with pytest.raises(ArgumentError, match="needs the arguments width;"):
        load_model(f"{tmp_path / 'mine.py'}:Net")
    # an error of the user's own code is not taken for a missing argument
    for use in (load, load_model):
        with pytest.raises(TypeError, match="from within"):
            use(f"{tmp_path / 'mine.py'}:broken")


def test_whole_numbers_become_floating_point_where_the_model_wants_that():
    model = nn.Linear(3, 2).eval()
    assert shaped(load((X.round().long(), Y)), model, Options()).X_test.dtype == torch.float32
    tokens = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2)).eval()
    assert shaped(load((X.long().abs(), Y)), tokens, Options()).X_test.dtype == torch.int64
    with pytest.raises(ArgumentError, match="channels before height and width"):
        shaped(load((X[:, :2], Y)), model, Options())


def test_targets_that_may_be_meant_as_classes():
    assert not looks_like_classes(load((X, Y)))
    assert looks_like_classes(load((X, nn.functional.one_hot(Y).float())))
    assert looks_like_classes(load((X, Y.float())))
    assert looks_like_classes(load((X, Y[:, None])))
    assert not looks_like_classes(load((X, X[:, 0])))
    assert not looks_like_classes(load((X, None)))
