"""Geometry: neighbours, geodesic sums, curvature, and whole networks, against the tools that people use.

Run with ``python -m bench.geometry`` (``--quick`` for the smaller graphs and fewer repeats). igraph, networkit and
GraphRicciCurvature take part if they can be imported, from ``--peers FOLDER`` made by ``pip install --target``.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import rustworkx as rx
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from sklearn.neighbors import NearestNeighbors

from bench.timing import median, once, rounds, write
from separatrix.geometry import forman, graph, neighbours, ollivier, ollivier_bounds, total_geodesic
from separatrix.geometry.layer_sums import layer_sums

SIZES = [(1000, 6), (1000, 90), (2000, 10), (2000, 90), (2000, 350), (2000, 500), (5000, 50), (10000, 6), (10000, 50)]
KS = [10, 20, 30, 50, 90, 100, 120, 150, 250, 350, 500]
SCIPY_SOURCES = 100
"""scipy and networkx search from this many vertices only, and are scaled up, where all would take minutes."""


def features(n: int, seed: int = 0, width: int = 50, rank: int = 25) -> np.ndarray:
    """Activations as a trained layer has them: rectified, of lower dimension than width, unequal in scale."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, width))
    return np.maximum(mixed * np.geomspace(1, 0.1, width), 0)


def peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def nothing() -> None:
    pass


def geodesics(n: int, k: int, repeats: int) -> dict[str, Any]:
    """Seconds for the sum of all hop distances of one union graph, each tool given its own graph beforehand."""
    ours = graph(neighbours(features(n), k), k)
    matrix = ours.to_scipy().astype(np.float64)
    rows = np.repeat(np.arange(n), ours.degrees)
    upper = rows < ours.indices
    edges = list(zip(rows[upper].tolist(), ours.indices[upper].tolist(), strict=True))
    total = total_geodesic(ours).total
    some = np.arange(0, n, max(1, n // SCIPY_SOURCES))
    share = n / len(some)

    rust = rx.PyGraph()
    rust.add_nodes_from(range(n))
    rust.add_edges_from_no_data(edges)
    contestants: dict[str, Callable[[], Any]] = {
        "separatrix": lambda: total_geodesic(ours),
        "rustworkx": lambda: rx.distance_matrix(rust, null_value=np.inf).sum(),
    }
    assert contestants["rustworkx"]() == total
    igraph, networkit = peer("igraph"), peer("networkit")
    if igraph:
        other = igraph.Graph(n=n, edges=edges)
        contestants["igraph"] = lambda: np.sum(other.distances())
    if networkit:
        net = networkit.GraphFromCoo((np.ones(len(edges)), tuple(np.array(edges).T)), n=n)
        contestants["networkit"] = lambda: np.sum(networkit.distance.APSP(net).run().getDistances())
    seconds = {name: median(times) for name, times in rounds(contestants, repeats, nothing).items()}
    seconds["scipy"] = share * once(lambda: dijkstra(matrix, unweighted=True, indices=some).sum(), nothing)
    plain = nx.from_scipy_sparse_array(matrix)
    few = some[:: max(1, len(some) // 10)]
    seconds["networkx"] = (
        n
        / len(few)
        * once(lambda: [sum(nx.single_source_shortest_path_length(plain, int(v)).values()) for v in few], nothing)
    )
    return {"n": n, "k": k, "ms": 1e3 * seconds["separatrix"]} | {
        name: value / seconds["separatrix"] for name, value in seconds.items() if name != "separatrix"
    }


def nearest(n: int, d: int, k: int, repeats: int) -> dict[str, Any]:
    X = features(n, width=d, rank=min(25, d))
    search = NearestNeighbors(n_neighbors=k, algorithm="brute")
    contestants = {
        "separatrix": lambda: neighbours(X, k),
        "scikit-learn": lambda: search.fit(X).kneighbors(return_distance=False),
        "torch.cdist": lambda: torch.cdist(torch.tensor(X), torch.tensor(X)).topk(k + 1, largest=False).indices,
    }
    seconds = {name: median(times) for name, times in rounds(contestants, repeats, nothing).items()}
    return {"n": n, "d": d, "k": k, "ms": 1e3 * seconds["separatrix"]} | {
        name: value / seconds["separatrix"] for name, value in seconds.items() if name != "separatrix"
    }


def curvature(n: int, k: int, repeats: int, exact: bool) -> dict[str, Any]:
    ours = graph(neighbours(features(n), k), k)
    plain = nx.from_scipy_sparse_array(ours.to_scipy())
    times = rounds(
        {
            "forman": lambda: forman(ours),
            "augmented": lambda: forman(ours, augmented=True),
            "bounds": lambda: ollivier_bounds(ours),
        },
        repeats,
        nothing,
    )
    row: dict[str, Any] = {"n": n, "k": k, "edges": ours.edges}
    row |= {f"{name}, ms": 1e3 * median(values) for name, values in times.items()}
    loop = once(lambda: [4 - plain.degree[u] - plain.degree[v] for u, v in plain.edges], nothing)
    row["forman, loop in networkx"] = loop / median(times["forman"])
    if exact:
        row["ollivier, s"] = once(lambda: ollivier(ours), nothing)
    other = peer("GraphRicciCurvature.FormanRicci")
    if other:
        for method, name in (("1d", "forman"), ("augmented", "augmented")):
            theirs = other.FormanRicci(plain.copy(), method=method, verbose="ERROR")
            row[f"{name}, GraphRicciCurvature"] = once(theirs.compute_ricci_curvature, nothing) / median(times[name])
    if exact and other:
        # all neighbours, no idleness, one process: the same quantity
        settings = {"alpha": 0.0, "method": "OTD", "nbr_topk": n, "proc": 1, "verbose": "ERROR"}
        theirs = peer("GraphRicciCurvature.OllivierRicci").OllivierRicci(plain.copy(), **settings)
        seconds = once(theirs.compute_ricci_curvature, nothing)
        row["ollivier, GraphRicciCurvature"] = seconds / row["ollivier, s"]
        values = ollivier(ours)
        found = [edge["ricciCurvature"] - values[u, v] for u, v, edge in theirs.G.edges(data=True)]
        row["ollivier, largest difference"] = float(np.abs(found).max())
    return row


def straightforward(X: np.ndarray, k: int, sources: np.ndarray | None) -> tuple[int, int, float]:
    """Curvature and geodesics of one layer at one k, as one would write them with the usual tools."""
    arcs = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(X).kneighbors_graph()
    joined = csr_array(arcs.maximum(arcs.T))
    network = nx.from_scipy_sparse_array(joined)
    degree = dict(network.degree)
    total = sum(4 - degree[u] - degree[v] for u, v in network.edges)
    mutual = csr_array(arcs.multiply(arcs.T))
    again = nx.from_scipy_sparse_array(mutual)
    total += sum(4 - again.degree[u] - again.degree[v] for u, v in again.edges)
    distances = [dijkstra(matrix, unweighted=True, indices=sources) for matrix in (joined, mutual)]
    return total, nx.number_connected_components(network), float(sum(d[np.isfinite(d)].sum() for d in distances))


def network(n: int, layers: int, quick: bool, repeats: int) -> dict[str, Any]:
    """All layers of one network, all k, all conventions."""
    points = [features(n, seed) for seed in range(layers)]
    times = rounds({"ours": lambda: [layer_sums(X, KS) for X in points]}, repeats, nothing)["ours"]
    some = np.arange(0, n, 20 if quick else 4)
    # the searches of a few sources, scaled up; everything but the searches is timed in full
    slow = 0.0
    for k in KS:
        without = once(lambda k=k: straightforward(points[0], k, some[:1]), nothing)
        slow += without + (n - 1) / (len(some) - 1) * max(
            0.0, once(lambda k=k: straightforward(points[0], k, some), nothing) - without
        )
    return {
        "n": n,
        "layers": layers,
        "ks": len(KS),
        "s": median(times),
        "usual tools, s": layers * slow,
        "ratio": layers * slow / median(times),
    }


LARGE = r"""
import json, re, time
from pathlib import Path
import numpy as np, torch
from bench.geometry import features
from separatrix.geometry import graph, neighbours, total_geodesic
from separatrix.geometry.layer_sums import layer_sums
def peak():  # of this program; what getrusage tells outlives the program that was replaced
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
layer_sums(features(500), [5, 10])
total_geodesic(graph(neighbours(features(500), 10), 10), sources=20)
before = peak()
X = features(20000)
begin = time.perf_counter()
found = neighbours(X, 350)
middle = time.perf_counter()
here = graph(found, 350)
built = time.perf_counter()
exact = total_geodesic(here)
end = time.perf_counter()
sampled = total_geodesic(here, sources=1000)
last = time.perf_counter()
highest = peak()
error = abs(sampled.total - exact.total)
print(json.dumps({"n": 20000, "k": 350, "edges": here.edges, "neighbours, s": middle - begin,
    "graph, s": built - middle,
    "geodesics, s": end - built, "1,000 sources, s": last - end, "error over standard error":
    error / sampled.standard_error, "peak, MB": highest / 1e3, "of it before, MB": before / 1e3}))
"""


def large() -> dict[str, Any]:
    """One graph on 20,000 points, in a process of its own, with its peak of memory."""
    import json

    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def table(title: str, rows: list[dict[str, Any]]) -> None:
    heads = list(dict.fromkeys(key for row in rows for key in row))
    print(f"\n{title}\n\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        cells = [row.get(head, "") for head in heads]
        print(
            "| "
            + " | ".join(f"{c:,.3g}" if isinstance(c, float) else f"{c:,}" if c != "" else "" for c in cells)
            + " |"
        )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", help="folder with igraph, networkit and GraphRicciCurvature")
    arguments = parser.parse_args()
    if arguments.peers:
        sys.path.append(arguments.peers)
    repeats = 3 if arguments.quick else 7
    sizes = SIZES[:6] if arguments.quick else SIZES
    parts = {
        "neighbours": [nearest(n, d, k, repeats) for n, d, k in ((1000, 3, 200), (2000, 50, 500), (2000, 784, 500))],
        "geodesics": [geodesics(n, k, repeats if n <= 2000 else 1) for n, k in sizes],
        "curvature": [curvature(1000, 10, repeats, True), curvature(1000, 50, repeats, False)],
        "one network": [network(2000, 11, arguments.quick, repeats)],
        "large": [] if arguments.quick else [large()],
    }
    for title, rows in parts.items():
        if rows:
            table(f"{title} (a peer's column is its time over ours)", rows)
    rows = [{"part": title, **row} for title, part in parts.items() for row in part]
    print(f"\nwritten to {write('geometry', rows)}")


if __name__ == "__main__":
    main()
