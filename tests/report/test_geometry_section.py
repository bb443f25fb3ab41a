"""The geometry section of the page: which models have one, and that it says what the file holds."""

import math
import re
from itertools import pairwise

import torch
import xarray as xr
from torch import nn

from separatrix.data import disc
from separatrix.report.context import Context, Options
from separatrix.report.geometry import geometry


def deep(hidden=6, width=12):
    torch.manual_seed(0)
    sizes = [2, *[width] * hidden]
    parts = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*parts, nn.Linear(width, 1)).eval()


def context(folder, model, **options):
    return Context(
        "disc", model, disc(1000), Options(**({"points": 60, "seconds": math.inf} | options)), folder, "page"
    )


def text(section):
    return " ".join(section.prose)


def test_the_section_says_what_the_file_holds(tmp_path):
    here = context(tmp_path, deep())
    section = geometry(here)
    assert here.files == ["page-disc-ricci.nc"]
    ds = xr.load_dataset(tmp_path / here.files[0])
    assert ds.sizes["layer"] == 6 and ds.attrs["points"] == 60
    assert {"p_layers", "p_pairs", "bias", "untrained_lowest"} <= set(ds.data_vars)
    one = ds.isel(member=0, convention=0)
    (table,) = section.tables
    assert [int(row[0]) for row in table.rows] == ds.k.values.tolist()
    for row, rho, bias in zip(table.rows, one.rho.values, one.bias.values, strict=True):
        for shown, number in ((row[2], rho), (row[3], bias)):
            assert shown == "–" if math.isnan(number) else abs(float(shown.replace("−", "-")) - number) <= 0.005001
    known = one.rho.values[~one.rho.isnull().values]
    assert f"negative at {(known < 0).sum()} of {len(known)} values" in text(section)
    cut = int(one.rho.isnull().sum())
    assert (f"{cut} values of k have no coefficient: the graph of some layer is not connected" in text(section)) == (
        cut > 0
    )
    assert "without a flow as well" in text(section) and len(section.figures) == 2
    (label, value), *_ = section.facts
    assert re.match(r"Ricci coefficient at k = 6; without a flow .*, untrained", label) and re.match(
        r"–|−?0\.\d\d$", value
    )


def test_shallow_models_and_few_points_have_none(tmp_path):
    assert geometry(context(tmp_path, deep(hidden=4))) is None
    assert geometry(context(tmp_path, deep(), points=10)) is None


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.scale = deep(), nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.inner(x) * self.scale


def test_without_untrained_twins_the_page_says_so(tmp_path):
    section = geometry(context(tmp_path, Scaled()))
    assert "There are no untrained twins: the parameter 'scale'" in text(section)
    assert all(row[4] == "–" for row in section.tables[0].rows)
    model = deep()
    section = geometry(context(tmp_path, lambda x: model(x)))
    assert section is None  # the layers of a function cannot be told apart


def test_dead_layers_are_told_of(tmp_path):
    model = deep()
    with torch.no_grad():
        model[6].weight.zero_()
    section = geometry(context(tmp_path, model))
    assert "There is no coefficient at any k: all points coincide at some layer" in text(section)


def test_the_time_decides_on_the_points(tmp_path):
    section = geometry(context(tmp_path, deep(), points=90, seconds=1e-9))
    assert xr.load_dataset(tmp_path / "page-disc-ricci.nc").attrs["points"] == 60
    assert "The time allowed for 60 of the 90 points." in text(section)
