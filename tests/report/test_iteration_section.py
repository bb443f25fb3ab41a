"""The iteration section of the page, on a map that was learned."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import xarray as xr
from torch import nn

from separatrix.data.record import Problem
from separatrix.report import Options, write
from separatrix.report.iteration import iteration


class Step(nn.Module):
    """x + dt net(x), for learning a damped motion in two wells."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, x):
        return x + 0.2 * self.net(x)


def wells(x):
    return torch.stack([x[:, 1], x[:, 0] - x[:, 0] ** 3 - 0.8 * x[:, 1]], 1)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    torch.manual_seed(0)
    X = 4 * torch.rand(3000, 2) - 2
    model = Step()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(600):
        optimizer.zero_grad()
        (model.net(X) - wells(X)).square().mean().backward()
        optimizer.step()
    y = (X + 0.2 * wells(X)).float()
    problem = Problem("wells", "A damped motion in two wells.", X[:2500], y[:2500], X[2500:], y[2500:])
    out = tmp_path_factory.mktemp("report") / "wells.html"
    write(model, problem, out=out, options=Options(resolution=40, points=50))
    return out


def text(page: Path) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text("utf-8")))


def test_wells_are_found_and_proved(page):
    shown = text(page)
    assert "Along iteration" in shown
    found = xr.open_dataset(next(page.parent.glob("*-equilibria.nc")))
    # the learned motion has the wells and the saddle between them, and all equilibria are proved
    assert found.attrs["complete"] == "proved" and found.sizes["point"] == 3
    names = found.stability.attrs["flag_meanings"].split()
    kinds = [names[k] for k in found.stability.values]
    middle = abs(found.position.values[:, 0]).argmin()
    assert [kind for i, kind in enumerate(kinds) if i != middle] == ["attracting", "attracting"]
    assert kinds[middle] in ("saddle", "repelling")
    assert "all, as is proved" in shown and "2 × fixed point" in shown


def test_long_lists_say_what_they_leave_out(tmp_path):
    torch.manual_seed(0)

    class Folds(nn.Module):
        def forward(self, x):
            return torch.tanh(3 * x)

    X = 2 * torch.rand(60, 3) - 1
    write(Folds(), Problem("folds", "", X, X, X, X), out=tmp_path / "folds.html", options=Options(resolution=8))
    found = xr.open_dataset(next(tmp_path.glob("*-equilibria.nc")))
    shown = text(tmp_path / "folds.html")
    # 0 and two more in each component, and eight of the 27 attract
    assert found.sizes["point"] == 27
    assert "The table has the first 12 of 27 (" in shown and "8 attracting" in shown


def test_files_hold_what_the_page_says(page):
    basins = xr.open_dataset(next(page.parent.glob("*-basins.nc")))
    assert basins.label.shape == (40, 40) and basins.sizes["line"] == 2
    chord = xr.open_dataset(next(page.parent.glob("*-spectrum-chord.nc")))
    assert f"{float(chord.norm_2.max()):.4g}" in text(page)


def test_a_model_in_double_precision_is_asked_in_its_precision(context):
    assert iteration(replace(context, model=context.model.double())) is None
