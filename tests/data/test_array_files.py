"""Arrays from files."""

import numpy as np
import pytest
import torch

from separatrix.data import arrays
from separatrix.results.errors import ArgumentError


def test_own_split_is_kept(tmp_path):
    path = tmp_path / "a.npz"
    X = np.arange(12.0).reshape(6, 2)
    np.savez(path, X_train=X[:4], y_train=np.array([0, 1, 2, 0]), X_test=X[4:], y_test=np.array([2, 3]))
    p = arrays(path)
    assert torch.equal(p.X_train, torch.from_numpy(X[:4]).float()) and p.y_test.tolist() == [2, 3]
    assert p.classes == ("0", "1", "2", "3")


def test_split_is_seeded_and_complete(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=np.arange(20.0).reshape(10, 2), y=np.linspace(0, 0.9, 10))
    p, again, other = arrays(path, seed=1), arrays(path, seed=1), arrays(path, seed=2)
    assert len(p.X_test) == 2 and p.classes == ()
    assert sorted(torch.cat([p.X_train, p.X_test])[:, 0].tolist()) == list(range(0, 20, 2))
    # rows keep their targets
    assert torch.allclose(p.X_train[:, 0] / 20, p.y_train.float())
    assert torch.equal(p.X_test, again.X_test) and not torch.equal(p.X_train, other.X_train)


def test_signs_are_two_classes(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.zeros((4, 2), dtype=np.uint8), y=np.array([1.0, -1.0, 1.0, -1.0]))
    p = arrays(tmp_path / "a.npz")
    assert p.classes == ("-1", "+1") and p.X_train.dtype == torch.float32


def test_objects_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    np.savez(tmp_path / "a.npz", X=np.array([Bomb(), Bomb()], dtype=object))
    with pytest.raises(ArgumentError, match="not unpickled"):
        arrays(tmp_path / "a.npz")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"data": np.zeros((3, 2))}, "keys data"),
        ({"X": np.zeros((3, 2)), "y": np.zeros(2)}, "3 inputs and 2 targets"),
        ({"X": np.zeros(3)}, "shape"),
    ],
)
def test_unusable_content_is_an_error(tmp_path, content, words):
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(ArgumentError, match=words):
        arrays(tmp_path / "a.npz")


def test_missing_and_foreign_files_are_errors(tmp_path):
    with pytest.raises(ArgumentError, match="no such file"):
        arrays(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_text("not an archive")
    with pytest.raises(ArgumentError, match=r"b\.npz"):
        arrays(tmp_path / "b.npz")
