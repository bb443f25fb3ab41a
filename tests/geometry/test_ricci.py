"""Ricci coefficients against a straightforward pipeline of dense distances and scipy's shortest paths."""

import json
import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.sparse.csgraph import connected_components, shortest_path
from scipy.spatial.distance import cdist
from torch import nn

from separatrix.ensembles import Stack
from separatrix.geometry.activations import activations
from separatrix.geometry.coefficients import ricci_coefficient
from separatrix.geometry.nulls import permute_layers, permute_pairs
from separatrix.geometry.ricci import ricci
from separatrix.geometry.untrained import untrained_twin
from separatrix.results.errors import ArgumentError
from separatrix.testing.untouched import untouched

ALL = ("union", "authors-r", "mutual")


def mlp(seed=0, depth=5, width=8, act=nn.ReLU):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = [m for i in range(depth) for m in (nn.Linear(width if i else 3, width), act())]
        return nn.Sequential(*parts, nn.Linear(width, 1)).double()


@pytest.fixture(scope="module")
def X():
    return torch.randn(70, 3, generator=torch.Generator().manual_seed(1)).double()


def twin(F, k, convention):
    """Geodesic sum, curvature and components of one layer, edge by edge."""
    n, D = len(F), cdist(F, F)
    np.fill_diagonal(D, np.inf)
    A = np.zeros((n, n), dtype=int)
    for i in range(n):
        A[i, np.argsort(D[i], kind="stable")[:k]] = 1
    U = A & A.T if convention == "mutual" else A | A.T
    H = shortest_path(U.astype(float), unweighted=True, directed=False)
    if convention == "authors-r":
        degree = A.sum(0) + A.sum(1)
        ric = sum(4 - degree[i] - degree[j] for i, j in np.argwhere(A))
    else:
        degree = U.sum(0)
        ric = sum(4 - degree[i] - degree[j] for i, j in np.argwhere(np.triu(U)))
    return H.sum() if np.isfinite(H).all() else math.nan, ric, connected_components(U)[0]


def test_sums_and_coefficients_are_those_of_the_pipeline(X, as_user):
    model = mlp(act=nn.Tanh)
    with untouched(model):
        ds = ricci(model, X, k=[4, 0.2, 30], convention=ALL)
    assert ds.k.values.tolist() == [4, 14, 30] and ds.rho.dims == ("member", "convention", "k")
    features = [v.numpy() for v in activations(model, X).values()]
    assert ds.layer.values.tolist() == list(activations(model, X)) and len(features) == 5
    for convention in ALL:
        for k in (4, 14, 30):
            one = ds.sel(convention=convention, k=k, member=0)
            g, ric, components = (np.array(v) for v in zip(*(twin(F, k, convention) for F in features), strict=True))
            assert np.array_equal(one.geodesic.values, g, equal_nan=True)
            assert np.array_equal(one.curvature.values, ric) and np.array_equal(one.components.values, components)
            assert np.array_equal(one.expansion.values[:-1], np.diff(g), equal_nan=True)
            assert np.isnan(one.expansion.values[-1])
            if np.isnan(g).any():
                assert np.isnan(one.rho) and one.status == 9
                continue
            rho = np.corrcoef(np.diff(g), ric[:-1])[0, 1]
            assert one.rho == pytest.approx(rho, abs=1e-12) and one.pairs == 4 and one.status == 0
            assert one.adjusted_paper == pytest.approx(np.arctanh(rho), abs=1e-9)
            c = np.corrcoef(g, ric)[0, 1]
            assert one.correlation == pytest.approx(c, abs=1e-12)
            assert one.bias == pytest.approx(-c / math.sqrt(2), abs=1e-12)


def test_all_layers_with_union_is_the_global_coefficient_of_the_follow_up(X):
    model = nn.Sequential(*mlp(act=nn.Tanh), nn.Sigmoid())
    ds = ricci(model, X, k=12, layers="all", disconnected="raise")
    hidden = activations(model, X).values()
    features = [X.numpy(), *(v.numpy() for v in hidden), model(X).detach().numpy()]
    assert ds.layer.values.tolist() == ["input", *activations(model, X), "output"]
    g, ric, _ = (np.array(v) for v in zip(*(twin(F, 12, "union") for F in features), strict=True))
    assert ds.rho.item() == pytest.approx(np.corrcoef(np.diff(g), ric[:-1])[0, 1], abs=1e-12)
    assert ds.pairs.item() == len(features) - 1 == 6


def test_scaling_rotating_shifting_and_renumbering_change_nothing(X):
    rng = np.random.default_rng(0)
    layers = [rng.standard_normal((60, 5)) for _ in range(5)]
    order = rng.permutation(60)
    moved = []
    for F in layers:
        Q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
        moved.append((rng.uniform(0.01, 100) * F @ Q + rng.standard_normal(5))[order])
    before, after = (ricci(v, k=[6, 20], convention=ALL) for v in (layers, moved))
    for name in ("rho", "geodesic", "curvature", "diameter", "components"):
        assert np.array_equal(before[name], after[name], equal_nan=True)
    # the scaling symmetry of ReLU: (W, b) -> c (W, b), next W -> W / c
    model, other = mlp(3), mlp(3)
    other[2].weight.data *= 7
    other[2].bias.data *= 7
    other[4].weight.data /= 7
    assert np.array_equal(*(ricci(m, X, k=20).geodesic.values for m in (model, other)))


def test_a_stack_is_its_members_and_pools_them(X):
    members = [mlp(seed, act=nn.Tanh) for seed in range(3)]
    stack = Stack(members)
    ds = ricci(stack, X, k=[15, 30], nulls=10)
    for i, member in enumerate(members):
        alone = ricci(member, X, k=[15, 30], nulls=10)
        for name in ("rho", "geodesic", "p_pairs", "p_layers", "null_layers"):
            assert np.array_equal(ds[name].values[i], alone[name].values[0])
    g, ric = ds.geodesic.values[:, 0, 0], ds.curvature.values[:, 0, 0, :-1]
    pooled = np.corrcoef(np.diff(g).ravel(), ric.ravel())[0, 1]
    assert ds.pooled.values[0, 0] == pytest.approx(pooled, abs=1e-12)
    within = [v - v.mean(1, keepdims=True) for v in (np.diff(g), ric)]
    assert ds.pooled_centred.values[0, 0] == pytest.approx(np.corrcoef(*map(np.ravel, within))[0, 1], abs=1e-10)
    features = activations(stack, X)
    assert np.array_equal(ricci(features, k=[15, 30]).rho, ds.rho)


def test_nulls_are_those_of_the_kernels(X):
    ds = ricci(mlp(depth=11, act=nn.Tanh), X, k=[15, 30], nulls=50, seed=3)
    g, ric = ds.geodesic.values, ds.curvature.values
    for name, null in (("pairs", permute_pairs), ("layers", permute_layers)):
        found = null(g, ric, draws=50, seed=3)
        assert np.array_equal(ds[f"p_{name}"], found.p) and np.array_equal(ds[f"null_{name}"], found.mean)
        assert np.array_equal(ds[f"null_{name}_negative"], found.negative)
        assert ds.attrs[f"null_{name}"].endswith("50 permutations, drawn")
    assert "p_pairs" not in ricci(mlp(), X, k=15)


def clusters():
    """Two groups of points far apart at the second of five layers, one group elsewhere."""
    rng = np.random.default_rng(4)
    layers = [rng.standard_normal((40, 3)) for _ in range(5)]
    layers[1][:25] += 1000
    return layers


def test_a_layer_that_falls_apart():
    layers = clusters()
    ds = ricci(layers, k=12, convention=("union", "authors-r"))
    assert ds.components.values[0, 0, 0].tolist() == [1, 2, 1, 1, 1] and ds.largest.values[0, 0, 0, 1] == 25
    assert ds.unreachable.values[0, 0, 0, 1] == 2 * 25 * 15 and ds.least_connecting_k.values[0, 1] == -1
    assert (ds.status == 9).all() and ds.rho.isnull().all()
    assert np.isnan(ds.geodesic.values[0, 0, 0, 1]) and ds.expansion.isnull().values[0, 0, 0].tolist() == [
        1,
        1,
        0,
        0,
        1,
    ]
    with pytest.raises(ArgumentError, match="layer '1' falls into 2 components"):
        ricci(layers, k=12, disconnected="raise")

    dropped = ricci(layers, k=12, disconnected="drop-pairs")
    assert dropped.pairs.item() == 2 and dropped.status.item() == 8
    more = ricci([*layers, *clusters()[2:]], k=12, disconnected="drop-pairs")
    g, ric = more.geodesic.values, more.curvature.values
    twin_rho = ricci_coefficient(g, ric, missing="drop").rho
    assert more.pairs.item() == 5 and more.status.item() == 4 and np.array_equal(more.rho, twin_rho)
    # six layers' worth of pairs is five: the adjusted forms follow the pairs
    assert more.adjusted_standard.item() == pytest.approx(math.atanh(more.rho.item()) * math.sqrt(2))

    part = ricci(layers, k=12, convention=("union", "authors-r"), disconnected="largest")
    assert (part.status == 5).all() and not part.rho.isnull().any()
    for c, convention in enumerate(("union", "authors-r")):
        g, ric, _ = twin(layers[1][:25], 12, convention)
        assert part.geodesic.values[0, c, 0, 1] == g and part.curvature.values[0, c, 0, 1] == ric
        assert part.geodesic.values[0, c, 0, 2] == twin(layers[2], 12, convention)[0]


def test_dead_units_and_copies_have_a_status():
    rng = np.random.default_rng(6)
    layers = [rng.standard_normal((30, 3)) for _ in range(6)]
    copies = [v.copy() for v in layers]
    copies[2][5:9] = copies[2][4]
    ds = ricci(copies, k=10)
    assert ds.status.item() == 3 and ds.unique_rows.values[0].tolist() == [30, 30, 26, 30, 30, 30]
    assert np.isfinite(ds.rho.item())
    dead = [v.copy() for v in layers]
    dead[4][:] = 0.0
    ds = ricci(dead, k=10)
    assert ds.status.item() == 10 and np.isnan(ds.rho.item()) and np.isnan(ds.geodesic.values[..., 4]).all()
    assert ricci(dead, k=10, disconnected="drop-pairs").status.item() == 4


def test_few_layers():
    rng = np.random.default_rng(7)
    layers = [rng.standard_normal((30, 3)) for _ in range(4)]
    ds = ricci(layers, k=10, nulls=5)
    assert ds.status.item() == 1 and np.isfinite(ds.rho.item()) and np.isnan(ds.adjusted_paper.item())
    for count in (1, 2, 3):
        short = ricci(layers[:count], k=10, nulls=5)
        assert short.status.item() == 8 and np.isnan(short.rho.item()) and short.sizes["layer"] == count


def test_untrained_twins_and_subsets(X, as_user):
    model = mlp(5, act=nn.Tanh)
    with untouched(model):
        ds = ricci(model, X, k=[15, 30], untrained=3, subsamples=4, share=0.6, seed=2)
    rho = [ricci(untrained_twin(model, 2 + i), X, k=[15, 30]).rho.values for i in range(3)]
    assert np.allclose(ds.untrained, np.mean(rho, 0)) and np.allclose(ds.untrained_lowest, np.min(rho, 0))
    assert np.allclose(ds.untrained_highest, np.max(rho, 0)) and (ds.untrained_count == 3).all()
    assert np.allclose(ds.untrained_negative, (np.array(rho) < 0).mean(0))
    assert ds.attrs["untrained"] == "3 twins a network; reset_parameters of Linear"
    features, rng = activations(model, X), np.random.default_rng(2)
    rows = [np.sort(rng.permutation(70)[:42]) for _ in range(4)]
    subsets = [ricci({n: v[r] for n, v in features.items()}, k=[9, 18]).rho.values for r in rows]
    assert np.allclose(ds.subsample, np.mean(subsets, 0)) and np.allclose(ds.subsample_highest, np.max(subsets, 0))
    again = ricci(model, X, k=[15], untrained=1, factory=lambda: mlp(9, act=nn.Tanh))
    assert again.untrained.item() == ricci(mlp(9, act=nn.Tanh), X, k=15).rho.item()
    assert again.attrs["untrained"].endswith("factory")


class Owner(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 4)
        self.own = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return torch.tanh(self.inner(x)) * self.own


def test_twins_are_fresh_draws_of_torchs_own(as_user):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    model[1].running_mean += 3
    model.eval()
    with untouched(model):
        first, same, other = (untrained_twin(model, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0].weight, same[0].weight) and not torch.equal(first[0].weight, other[0].weight)
    assert not torch.equal(first[0].weight, model[0].weight) and not first.training
    assert (first[1].running_mean == 0).all() and float(first[0].weight.abs().max()) <= 3**-0.5
    with pytest.raises(ArgumentError, match="'own'"):
        untrained_twin(Owner())


def test_the_result_survives_a_file(X, tmp_path):
    ds = ricci(mlp(), X, k=[15, 30], convention=ALL, nulls=5, untrained=1, subsamples=1)
    ds.to_netcdf(tmp_path / "ricci.nc")
    with xr.open_dataset(tmp_path / "ricci.nc") as back:
        xr.testing.assert_identical(ds, back.load())
    record = json.loads(ds.attrs["provenance"])
    assert record["function"] == "ricci" and record["settings"]["k"] == [15, 30]
    assert ds.status.attrs["flag_meanings"].split()[9] == "undefined"


def test_progress_and_a_small_budget(X):
    seen = []
    whole = ricci(mlp(), X, k=15, untrained=1, subsamples=2, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (20, 20)
    assert np.array_equal(ricci(mlp(), X, k=15, memory="300KB").geodesic, whole.geodesic)


def test_bad_arguments(X):
    model, layers = mlp(), [torch.randn(20, 3) for _ in range(4)]
    nan = [v.clone() for v in layers]
    nan[2][3, 1] = math.nan
    cases = [
        ((model,), {}, "X"),
        ((layers, X), {}, "X"),
        ((layers,), {"layers": "output"}, "layers"),
        ((layers,), {"layers": ["9"]}, "layers"),
        ((3,), {}, "model_or_layers"),
        (([],), {}, "model_or_layers"),
        (([layers[0], layers[1][:9]],), {}, "model_or_layers"),
        (([torch.randn(2, 3, 4, 5)],), {}, "model_or_layers"),
        ((layers,), {"k": 0}, "k"),
        ((layers,), {"k": 20}, "k"),
        ((layers,), {"k": []}, "k"),
        ((nan,), {"k": 3}, "X"),
        ((layers,), {"k": 3, "convention": "directed"}, "convention"),
        ((layers,), {"k": 3, "convention": ()}, "convention"),
        ((layers,), {"k": 3, "ties": "split"}, "ties"),
        ((layers,), {"k": 3, "disconnected": "ignore"}, "disconnected"),
        ((layers,), {"k": 3, "nulls": -1}, "nulls"),
        ((layers,), {"k": 3, "untrained": 1}, "untrained"),
        ((lambda x: x**2, X), {"k": 3, "layers": "output", "untrained": 1}, "untrained"),
        ((layers,), {"k": 3, "subsamples": 1, "share": 1.0}, "share"),
        ((layers,), {"k": 3, "subsamples": 1, "share": 0.1}, "share"),
        ((model, X), {"k": 3, "untrained": 1, "factory": lambda: mlp(depth=4)}, "layers"),
        ((model, X), {"memory": 100}, "memory"),
    ]
    for arguments, options, name in cases:
        with pytest.raises(ArgumentError) as caught:
            ricci(*arguments, **options)
        assert caught.value.argument == name, (options, str(caught.value))
