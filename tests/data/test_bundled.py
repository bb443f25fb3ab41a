"""The digits, against scikit-learn's own arrays."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from separatrix.data import digits
from separatrix.results.errors import ArgumentError


def test_every_image_comes_once_and_scaled():
    p = digits(seed=5)
    X = torch.cat([p.X_train, p.X_test]).double().numpy() * p.scale
    y = torch.cat([p.y_train, p.y_test]).numpy()
    raw, labels = load_digits(return_X_y=True)
    ours = np.unique(np.column_stack([X, y]), axis=0)
    assert np.array_equal(ours, np.unique(np.column_stack([raw, labels]), axis=0)) and len(X) == 1797
    assert p.X_train.min() >= 0 and p.X_train.max() == 1
    assert p.image == (8, 8) and len(p.classes) == 10


def test_split_keeps_the_proportions_and_follows_the_seed():
    p, again, other = digits(seed=5), digits(seed=5), digits(seed=6)
    assert torch.equal(p.X_test, again.X_test) and not torch.equal(p.X_test, other.X_test)
    near, far = torch.bincount(p.y_train), torch.bincount(p.y_test)
    assert len(p.y_test) == 360
    assert (far - 0.2 * (near + far)).abs().max() <= 1


def test_impossible_share_is_an_error():
    with pytest.raises(ArgumentError, match="test"):
        digits(test=0.001)
