"""Lipschitz bounds and contraction rates: tightness beside time, against other ways to the same bounds.

Run with ``python -m bench.certificates`` (``--quick`` for small networks; ``--eclipse FOLDER`` for a folder made by
``pip install --no-deps --target FOLDER eclipse-nn``).
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.timing import write
from separatrix.certificates.gains.barrier import smallest_rate
from separatrix.certificates.gains.gain import find_gain, verified_gain
from separatrix.certificates.gains.layer_norms import euclidean
from separatrix.certificates.gains.sectors import slope_sectors
from separatrix.certificates.gains.small_gain import gains
from separatrix.systems.lure import lure

SIZES = (8, 16, 32, 64, 128)
"""Units in each of the two hidden layers; twice that in total."""
CONIC = 32
"""Units up to which the conic solver is run: beyond, it takes minutes."""
INPUTS = 4


def network(units: int) -> nn.Sequential:
    generator = torch.Generator().manual_seed(units)
    layers: list[nn.Module] = []
    widths = (INPUTS, units, units, INPUTS)
    for a, b in pairwise(widths):
        layer = nn.Linear(a, b).double().requires_grad_(False)
        layer.weight.copy_(torch.randn(b, a, generator=generator, dtype=torch.float64) / a**0.5)
        layer.bias.copy_(0.3 * torch.randn(b, generator=generator, dtype=torch.float64))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def conic(C: np.ndarray, N: np.ndarray, n: int) -> float:
    """LipSDP (Fazlyab and others 2019) as it is usually set up: cvxpy and an interior-point solver."""
    import cvxpy as cp

    t, r = cp.Variable(len(N), nonneg=True), cp.Variable(nonneg=True)
    top = cp.bmat([[r * np.eye(n), np.zeros((n, len(N)))], [np.zeros((len(N), n)), cp.diag(t)]])
    cp.Problem(cp.Minimize(r), [top - C.T @ C - N.T @ cp.diag(t) @ N >> 0]).solve(solver="CLARABEL")
    return float(r.value) ** 0.5


def sampled(model: nn.Sequential) -> float:
    """Largest norm of the Jacobian that is seen: an estimate from below."""
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(20_000, INPUTS, generator=generator, dtype=torch.float64)
    J = torch.func.vmap(torch.func.jacrev(lambda v: model(v[None])[0]))(x)
    return float(torch.linalg.matrix_norm(J, 2).max())


def timed(function: Any) -> tuple[float, float]:
    began = perf_counter()
    value = function()
    return float(value), perf_counter() - began


def measure(units: int, eclipse: Any) -> dict[str, object]:
    model = network(units)
    form = lure(model, INPUTS)
    sectors = slope_sectors(form)
    seen = gains(form, sectors, INPUTS)
    C, N = seen.C.numpy(), seen.N.numpy()

    def ours() -> float:
        gain, _ = find_gain(form, sectors, INPUTS, norm="2", seconds=600.0, target=0.0)
        assert gain is not None
        assert verified_gain(form, sectors, INPUTS, gain.data()) is not None
        return gain.rate

    row: dict[str, object] = {"hidden": 2 * units, "sampled, from below": sampled(model)}
    row["bound, proved"], row["s"] = timed(ours)
    row["product of norms"] = euclidean(form, sectors, INPUTS)
    row["LipSDP, Clarabel"], row["LipSDP, s"] = (
        timed(lambda: conic(C, N, INPUTS)) if units <= CONIC else (np.nan, np.nan)
    )
    weights = [layer.weight for layer in model if isinstance(layer, nn.Linear)]
    for name, method in (("ECLipsE", "ECLipsE"), ("ECLipsE-Fast", "ECLipsE_Fast")):
        if eclipse is not None:
            bound, seconds = timed(lambda m=method: eclipse(weights=weights).estimate(m))
        else:
            bound, seconds = np.nan, np.nan
        row[name], row[f"{name}, s"] = bound, seconds
    began = perf_counter()
    free = smallest_rate(C, N, seen.block.numpy(), INPUTS)
    row["free metric: rate"], row["free metric: s"] = free.rate, perf_counter() - began
    # a rate that is asked for: one percent above the least
    began = perf_counter()
    fixed = smallest_rate(C, N, seen.block.numpy(), INPUTS, target=1.01 * free.rate)
    assert fixed.rate <= 1.01 * free.rate
    row["one rate: s"] = perf_counter() - began
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--eclipse", metavar="FOLDER")
    given = parser.parse_args()
    torch.set_num_threads(1)
    eclipse = None
    if given.eclipse:
        sys.path.append(given.eclipse)
        from eclipse_nn.LipConstEstimator import LipConstEstimator as eclipse  # type: ignore[import-not-found, no-redef]
    measure(4, eclipse)  # imports
    rows = []
    for units in SIZES[: 2 if given.quick else None]:
        rows.append(measure(units, eclipse))
        if len(rows) == 1:
            print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
        cells = [f"{value:.3g}" if isinstance(value, float) else f"{value}" for value in rows[-1].values()]
        print("| " + " | ".join(cells) + " |", flush=True)
    if not given.quick:
        print("\nwritten to", write("certificates", rows).name)


if __name__ == "__main__":
    main()
