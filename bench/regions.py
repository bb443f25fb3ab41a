"""Linear regions in a box: this library against plain polygon splitting, one polygon and one component at a time.

Run with ``python -m bench.regions`` (``--quick`` for fewer rounds and without the largest network).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from bench.timing import median, rounds, write
from separatrix.local.region_affine import plane_maps
from separatrix.local.region_layers import layers
from separatrix.local.region_split import split
from separatrix.local.regions import regions
from separatrix.systems.lure import lure
from separatrix.testing.region_twin import HIDDEN, chain, five_networks, naive_regions

SQUARE = np.array([[-6.0, -6.0], [6.0, -6.0], [6.0, 6.0], [-6.0, 6.0]])


def measure(k: int, repeats: int) -> dict[str, object]:
    weights, biases = five_networks()[k]
    model = chain(weights, biases)

    def polygons_and_maps() -> int:
        found = layers(lure(model, 2))
        cells = split(found, SQUARE, 10**6)
        return len(plane_maps(found, cells.pattern)[0])

    contestants = {
        "sx.regions": lambda: regions(model, (-6, 6)),
        "kernel": polygons_and_maps,
        "naive twin": lambda: naive_regions(weights, biases, SQUARE),
    }
    seconds = {name: median(times) for name, times in rounds(contestants, repeats, lambda: None).items()}
    count = polygons_and_maps()
    assert count == regions(model, (-6, 6)).sizes["line"] == len(naive_regions(weights, biases, SQUARE))
    return {
        "hidden": ",".join(map(str, HIDDEN[k])),
        "regions": count,
        "sx.regions, s": seconds["sx.regions"],
        "polygons and maps alone, s": seconds["kernel"],
        "naive twin, s": seconds["naive twin"],
        "times faster": seconds["naive twin"] / seconds["sx.regions"],
        "times faster, alone": seconds["naive twin"] / seconds["kernel"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    rows = []
    for k in range(len(HIDDEN) - quick):
        rows.append(measure(k, 1 if quick else 5))
        if not k:
            print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
        cells = [f"{value:.3g}" if isinstance(value, float) else f"{value}" for value in rows[-1].values()]
        print("| " + " | ".join(cells) + " |", flush=True)
    if not quick:
        print("\nwritten to", write("regions", rows).name)


if __name__ == "__main__":
    main()
