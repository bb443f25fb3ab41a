"""Local coefficients against networkx and numpy, point by point."""

import math

import networkx as nx
import numpy as np
import pytest
import torch
import xarray as xr
from scipy.spatial.distance import cdist
from torch import nn

from separatrix.ensembles import Stack
from separatrix.geometry.communities import curvature_gap, modularity, normalised_cut
from separatrix.geometry.local_ricci import edge_curvature, local_ricci
from separatrix.results.errors import ArgumentError


def joined(F, k, mutual=False):
    D = cdist(F, F)
    np.fill_diagonal(D, np.inf)
    A = np.zeros(D.shape, dtype=int)
    np.put_along_axis(A, np.argsort(D, axis=1, kind="stable")[:, :k], 1, 1)
    return A & A.T if mutual else A | A.T


def curvature_of(graph, i, j, kind):
    di, dj = graph.degree(i), graph.degree(j)
    t = len(set(graph[i]) & set(graph[j]))
    if kind == "forman":
        return 4 - di - dj
    if kind == "augmented":
        return 4 - di - dj + 3 * t
    least, most, s = min(di, dj), max(di, dj), 1 - 1 / di - 1 / dj
    return 0.5 * t / most - 0.5 * (max(s - t / least, 0) + max(s - t / most, 0) - t / most)


def twin(layers, k, kind, mutual=False):
    graphs = [nx.from_numpy_array(joined(F, k, mutual)) for F in layers]
    paths = [dict(nx.all_pairs_shortest_path_length(g)) for g in graphs]
    n = len(layers[0])
    bend, eta = np.full((2, len(layers), n), np.nan)
    for level, graph in enumerate(graphs):
        for x in range(n):
            near = list(graph[x])
            if near:
                bend[level, x] = np.mean([curvature_of(graph, x, z, kind) for z in near])
                if level + 1 < len(layers) and all(z in paths[level + 1][x] for z in near):
                    eta[level, x] = np.mean([paths[level + 1][x][z] - 1 for z in near])
    return bend, eta


@pytest.fixture(scope="module")
def layers():
    rng = np.random.default_rng(0)
    F = [rng.standard_normal((45, 3))]
    for _ in range(5):
        F.append(F[-1] + 0.6 * rng.standard_normal((45, 3)))
    return F


@pytest.mark.parametrize("kind", ["forman", "augmented", "ollivier-bounds"])
def test_coefficients_are_those_of_loops(layers, kind):
    ds = local_ricci(layers, k=[3, 7], curvature=kind)
    bend, eta = twin(layers, 7, kind)
    one = ds.sel(k=7, member=0)
    assert np.allclose(one.node_curvature, bend, atol=1e-12) and np.allclose(one.node_expansion, eta, equal_nan=True)
    still = np.ptp(eta[:-1], axis=0) == 0
    assert still.sum() < 10 and (one.status.values[still] == 7).all() and one.rho.isnull().values[still].all()
    for x in np.flatnonzero(~still):
        rho = np.corrcoef(bend[:-1, x], eta[:-1, x])[0, 1]
        assert one.rho.values[x] == pytest.approx(rho, abs=1e-10) and one.status.values[x] == 0
    for level in range(5):
        r = np.corrcoef(bend[level], eta[level])[0, 1]
        assert one.layer_coefficient.values[level] == pytest.approx(r, abs=1e-10)
    assert np.isnan(one.layer_coefficient.values[5]) and one.layer_status.values[5] == 9
    rho = one.rho.values[~still]
    assert one.mean_rho == pytest.approx(rho.mean()) and one.negative == (rho < 0).mean() and one.defined == len(rho)


def test_exact_ollivier_enters_as_it_is(layers):
    few = [F[:20] for F in layers[:4]]
    ds = local_ricci(few, k=5, curvature="ollivier")
    exact = edge_curvature(joined(few[1], 5), "ollivier").toarray()
    degree = joined(few[1], 5).sum(1)
    assert np.allclose(ds.node_curvature.values[0, 0, 1], exact.sum(1) / degree, atol=1e-9)


def test_neighbours_that_cannot_be_reached(layers):
    F = [v.copy() for v in layers]
    F[2][:20] += 100
    ds = local_ricci(F, k=8)
    bend, eta = twin(F, 8, "augmented")
    assert np.array_equal(np.isnan(ds.node_expansion.values[0, 0]), np.isnan(eta)) and np.isnan(eta[1]).any()
    lost = np.isnan(eta[:-1]).any(0)
    assert np.array_equal(ds.rho.isnull().values[0, 0], lost) and (ds.status.values[0, 0][lost] == 9).all()
    assert ds.defined.item() == 45 - lost.sum() and ds.layer_status.values[0, 0, 1] in (4, 9)
    mutual = local_ricci(layers, k=3, convention="mutual")
    bend, eta = twin(layers, 3, "augmented", mutual=True)
    assert np.allclose(mutual.node_curvature.values[0, 0], bend, equal_nan=True)
    assert np.allclose(mutual.node_expansion.values[0, 0], eta, equal_nan=True)


def test_dead_layers_and_short_networks(layers):
    F = [v.copy() for v in layers]
    F[3][:] = 1.0
    ds = local_ricci(F, k=8)
    assert ds.rho.isnull().all() and (ds.status == 10).all() and ds.defined == 0 and ds.mean_rho.isnull().all()
    assert ds.layer_coefficient.notnull().values[0, 0].tolist() == [True, True, False, False, True, False]
    assert (local_ricci(layers[:3], k=8).status == 8).all()
    # unchanged layers: nothing expands
    assert (local_ricci([layers[0]] * 5, k=8).status.values >= 6).all()


def test_classes_at_every_layer(layers):
    y = np.arange(45) % 3
    ds = local_ricci(layers, k=8, y=y)
    for level, F in enumerate(layers):
        A = joined(F, 8)
        numbers = curvature_gap(edge_curvature(A, "augmented"), y), modularity(A, y), normalised_cut(A, y)
        for name, number in zip(("curvature_gap", "modularity", "normalised_cut"), numbers, strict=True):
            assert ds[name].values[0, 0, level] == pytest.approx(number, abs=1e-12)
    assert "modularity" not in local_ricci(layers, k=8)


def test_networks_and_stacks_in_small_blocks(tmp_path):
    torch.manual_seed(0)
    nets = [nn.Sequential(*(m for _ in range(4) for m in (nn.Linear(3, 3), nn.Tanh())), nn.Linear(3, 1)) for _ in "ab"]
    X = torch.randn(40, 3)
    ds = local_ricci(Stack(nets), X, k=6)
    assert ds.layer.values.tolist() == ["input", "1#1", "3#1", "5#1", "7#1", "output"]
    for i, net in enumerate(nets):
        assert np.array_equal(ds.rho.values[i], local_ricci(net, X, k=6, memory="300KB").rho.values[0], equal_nan=True)
    ds.to_netcdf(tmp_path / "local.nc")
    with xr.open_dataset(tmp_path / "local.nc") as back:
        xr.testing.assert_identical(ds, back.load())


def test_bad_arguments(layers):
    bad = [v.copy() for v in layers]
    bad[1][0, 0] = math.inf
    for given, options, name in (
        (layers, {"curvature": "ricci"}, "curvature"),
        (layers, {"convention": "authors-r"}, "convention"),
        (layers, {"y": [0, 1]}, "y"),
        (layers, {"k": 45}, "k"),
        (bad, {}, "X"),
    ):
        with pytest.raises(ArgumentError) as caught:
            local_ricci(given, **({"k": 5} | options))
        assert caught.value.argument == name
