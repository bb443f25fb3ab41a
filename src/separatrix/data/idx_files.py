"""IDX files, the format of MNIST and of the data sets made in its likeness."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch

from separatrix.data.folders import find_folder
from separatrix.data.record import Problem
from separatrix.results.errors import ArgumentError

IMAGES, LABELS = 0x00000803, 0x00000801
"""Magic numbers: unsigned bytes in three dimensions (images, rows, columns), and in one."""

TRAIN, TEST = ("train", "train10k"), ("t10k", "test")
"""Beginnings of the file names, the first found is used."""

FASHION = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def idx(folder: str | Path, *, dtype: torch.dtype = torch.float32) -> Problem:
    """Images and labels from a folder of IDX files, plain or gzip.

    Parameters
    ----------
    folder : str or Path
        A path, or a name ("mnist", "fashion-mnist") below the data directory ``SEPARATRIX_DATA`` or below
        ``/usr/share/datasets``, where Debian's package ``dataset-fashion-mnist`` puts its files. It must hold
        ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` (or ``train10k-...``) and the same with ``t10k-``.
    dtype : torch.dtype
        Of the inputs.

    Returns
    -------
    Problem
        ``X_*`` of shape (n, rows * columns), scaled to [0, 1] (``scale`` is 255); ``y_*`` class numbers of shape (n,).
        Nothing is shuffled and nothing is downloaded.

    Raises
    ------
    ArgumentError
        If the folder or a file is missing, has another magic number, or does not have the length its header says.
    """
    path = find_folder(folder, argument="folder")
    X_train, y_train, size = _pair(path, TRAIN)
    X_test, y_test, size_test = _pair(path, TEST)
    if size != size_test:
        raise ArgumentError(
            "folder",
            f"training images {size} and test images {size_test} in {path}",
            "put each data set in a folder of its own",
        )
    count = int(max(y_train.max(initial=0), y_test.max(initial=0))) + 1
    name = path.name
    return Problem(
        name=name,
        description=f"{name}: {len(X_train):,} training and {len(X_test):,} test images of {size[0]}x{size[1]} pixels, "
        "grey values scaled to [0, 1]",
        X_train=torch.from_numpy(X_train).to(dtype) / 255,
        y_train=torch.from_numpy(y_train).long(),
        X_test=torch.from_numpy(X_test).to(dtype) / 255,
        y_test=torch.from_numpy(y_test).long(),
        classes=FASHION if "fashion" in name.lower() and count == 10 else tuple(map(str, range(count))),
        image=size,
        scale=255.0,
    )


def _pair(folder: Path, prefixes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Images (flattened) and labels of one half of the data, and the size of an image."""
    images = _find(folder, prefixes, "images", "idx3")
    labels = _find(folder, prefixes, "labels", "idx1")
    X, y = _read(images, IMAGES), _read(labels, LABELS)
    if len(X) != len(y):
        raise ArgumentError(
            "folder",
            f"{len(X)} images in {images.name} and {len(y)} labels in {labels.name}",
            "the files do not belong together",
        )
    return X.reshape(len(X), -1), y, (X.shape[1], X.shape[2])


def _find(folder: Path, prefixes: tuple[str, ...], kind: str, dims: str) -> Path:
    names = [f"{p}-{kind}{sep}{dims}-ubyte{end}" for p in prefixes for sep in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ArgumentError("folder", f"{folder} without {kind} for {prefixes[0]!r}", f"add {names[0]} or {names[1]}")


def _read(path: Path, magic: int) -> np.ndarray:
    """Array of unsigned bytes from one IDX file whose magic number must be ``magic``."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ArgumentError(
            "folder", f"{path.name}, damaged or truncated gzip ({error})", "copy the file again"
        ) from error
    dims = magic & 0xFF
    found = int.from_bytes(raw[:4], "big")
    if len(raw) < 4 * (1 + dims) or found != magic:
        raise ArgumentError(
            "folder",
            f"{path.name} with magic number {found} in {len(raw):,} bytes",
            f"an IDX file of this name begins with {magic}",
        )
    shape = tuple(int(v) for v in np.frombuffer(raw, ">u4", count=dims, offset=4))
    need = 4 * (1 + dims) + math.prod(shape)
    if len(raw) != need:
        raise ArgumentError(
            "folder",
            f"{path.name} with {len(raw):,} bytes",
            f"its header ({' x '.join(map(str, shape))}) calls for {need:,}: truncated or damaged, copy it again",
        )
    return np.frombuffer(raw, np.uint8, offset=4 * (1 + dims)).reshape(shape).copy()
