"""The region of a certificate on a phase portrait: the curve is its rim, the cells are its cells."""

import numpy as np
import pytest
import torch

import separatrix as sx


@pytest.fixture(scope="module")
def system():
    A = torch.tensor([[0.5, 0.9], [-0.3, 0.6]], dtype=torch.float64)
    return sx.Map(lambda x: torch.tanh(x @ A.T), dim=2)


def test_the_rim_is_the_ellipsoids(system):
    found = sx.certify(system, "stability", at=(0, 0))
    ax = sx.phase_portrait(system, (-1, 1), starts=0, certificate=found, colorbar=False)
    rim = next(line for line in ax.lines if len(line.get_xdata()) == 400).get_xydata()
    off = rim - found.region.centre.numpy()
    np.testing.assert_allclose(((off @ found.region.P.numpy()) * off).sum(1), found.region.level, rtol=1e-9)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["certified ellipse"]


def test_cells_are_shaded(system):
    found = sx.certify(system, "stability", at=(0, 0), box=(-1, 1))
    ax = sx.phase_portrait(system, (-1, 1), starts=0, certificate=found, colorbar=False)
    shaded = next(c for c in ax.collections if type(c).__name__ == "PolyCollection" and len(c.get_paths()) > 1)
    areas = [np.ptp(p.vertices[:, 0]) * np.ptp(p.vertices[:, 1]) for p in shaded.get_paths()]
    assert sum(areas) == pytest.approx(found.region.volume, rel=1e-9)


def test_a_ball_is_named_so(system):
    found = sx.certify(system, "boundedness")
    ax = sx.phase_portrait(system, (-2, 2), starts=0, certificate=found, colorbar=False)
    assert "ball that is entered" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_certificates_without_a_region_get_words(system):
    with pytest.raises(sx.ArgumentError, match="with at="):
        sx.phase_portrait(system, (-1, 1), certificate=sx.certify(system, "lipschitz"))
