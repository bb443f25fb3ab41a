"""IDX folders: MNIST as it is, and every way in which a file can be wrong."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from separatrix.data import idx
from separatrix.results.errors import ArgumentError


def write(folder, name, array, *, magic=None, cut=0, gz=False):
    magic = 0x800 + array.ndim if magic is None else magic
    raw = struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.astype(np.uint8).tobytes()
    raw = raw[: len(raw) - cut]
    path = folder / (name + ".gz" * gz)
    path.write_bytes(gzip.compress(raw) if gz else raw)
    return path


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 7), ("t10k", 4)):
        write(tmp_path, f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (n, 5, 3)))
        write(tmp_path, f"{prefix}-labels-idx1-ubyte", np.arange(n) % 3, gz=True)
    return tmp_path


def test_values_and_order_are_those_of_the_file(folder):
    p = idx(folder)
    raw = (folder / "train-images-idx3-ubyte").read_bytes()
    first = [raw[16 + i] for i in range(15)]
    assert torch.equal((p.X_train[0] * 255).round().int(), torch.tensor(first, dtype=torch.int32))
    assert p.input_shape == (15,) and p.image == (5, 3) and p.classes == ("0", "1", "2")
    assert p.y_test.tolist() == [0, 1, 2, 0]


def test_a_name_is_looked_up_in_the_data_directory(folder, monkeypatch):
    monkeypatch.setenv("SEPARATRIX_DATA", str(folder.parent))
    assert len(idx(folder.name).X_train) == 7
    with pytest.raises(ArgumentError, match="SEPARATRIX_DATA") as caught:
        idx("no-such-set")
    assert str(folder.parent / "no-such-set") in str(caught.value)
    monkeypatch.delenv("SEPARATRIX_DATA")
    with pytest.raises(ArgumentError, match="SEPARATRIX_DATA is not set"):
        idx("no-such-set")


def test_truncated_files_are_errors(folder):
    images = folder / "train-images-idx3-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:-1])
    with pytest.raises(ArgumentError, match=r"7 x 5 x 3.* 121"):
        idx(folder)
    images.write_bytes(whole + b"x")
    with pytest.raises(ArgumentError, match="damaged"):
        idx(folder)
    images.write_bytes(whole[:10])
    with pytest.raises(ArgumentError, match="10 bytes"):
        idx(folder)
    images.write_bytes(whole)
    labels = folder / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-9])
    with pytest.raises(ArgumentError, match="truncated gzip"):
        idx(folder)


def test_wrong_magic_numbers_are_errors(folder):
    write(folder, "train-images-idx3-ubyte", np.zeros((7, 5, 3)), magic=0x0D03)
    with pytest.raises(ArgumentError, match=r"magic number 3331 .*begins with 2051"):
        idx(folder)


def test_missing_and_mismatched_files_are_errors(folder):
    write(folder, "t10k-labels-idx1-ubyte", np.zeros(3))
    with pytest.raises(ArgumentError, match=r"4 images in .* 3 labels"):
        idx(folder)
    (folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(ArgumentError, match="t10k-images-idx3-ubyte"):
        idx(folder)


def test_mnist_itself():
    home = os.environ.get("SEPARATRIX_DATA")
    if not home or not (Path(home) / "mnist").is_dir():
        pytest.skip("data: no mnist folder below SEPARATRIX_DATA")
    p = idx("mnist")
    # the numbers of each digit in the official test set
    assert torch.bincount(p.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert p.input_shape == (784,) and p.image == (28, 28)
    assert p.X_test.min() == 0 and p.X_test.max() == 1
    # mean grey value of the test images, known to be 0.1325 of the full scale
    assert abs(p.X_test.double().mean().item() - 0.1325) < 1e-4
    assert p.y_test[:5].tolist() == [7, 2, 1, 0, 4]


def test_fashion_mnist_package():
    homes = [Path(os.environ.get("SEPARATRIX_DATA", "")) / "fashion-mnist", Path("/usr/share/datasets/fashion-mnist")]
    if not any(home.is_dir() for home in homes):
        pytest.skip("data: no fashion-mnist folder")
    p = idx("fashion-mnist")
    assert len(p.X_train) == 60_000 and torch.bincount(p.y_test).tolist() == [1000] * 10
    assert p.classes[9] == "ankle boot"
