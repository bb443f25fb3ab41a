"""Real data that comes with a package we need anyway."""

from __future__ import annotations

import torch

from separatrix.data.record import Problem
from separatrix.results.errors import ArgumentError


def digits(*, seed: int = 0, test: float = 0.2, dtype: torch.dtype = torch.float32) -> Problem:
    """Handwritten digits of 8x8 pixels, from scikit-learn (1,797 images, 10 classes).

    Parameters
    ----------
    seed : int
        Seed of the split, which keeps the proportions of the classes.
    test : float
        Share of the test set.
    dtype : torch.dtype
        Of the inputs.

    Returns
    -------
    Problem
        ``X_*`` of shape (n, 64), scaled to [0, 1] (``scale`` is 16); ``y_*`` class numbers of shape (n,).

    Raises
    ------
    ArgumentError
        If ``test`` leaves a class without training or test images.

    Notes
    -----
    Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998).
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    if not 10 <= round(test * len(X)) <= len(X) - 10:
        raise ArgumentError("test", repr(test), "give the share of the test set; each side needs at least 10 images")
    near, far, y_near, y_far = train_test_split(X, y, test_size=test, random_state=seed, stratify=y)
    return Problem(
        name="digits",
        description="1,797 handwritten digits of 8x8 pixels (scikit-learn), grey values scaled to [0, 1]",
        X_train=torch.from_numpy(near / 16).to(dtype),
        y_train=torch.from_numpy(y_near).long(),
        X_test=torch.from_numpy(far / 16).to(dtype),
        y_test=torch.from_numpy(y_far).long(),
        classes=tuple("0123456789"),
        image=(8, 8),
        seed=seed,
        scale=16.0,
    )
