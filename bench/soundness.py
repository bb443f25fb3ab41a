"""Certificates under attack: random small maps, each verdict against long searches in float64.

Run with ``python -m bench.soundness`` (``--count`` maps, 10,000 by default). Prints how many statements were tried,
certified, refuted and left unknown, how many are wrong, and, for random networks with large norms, the share that is
certified beside the share that is refuted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import torch

from bench.timing import write
from separatrix.testing.attacks import STATEMENTS, attacked, product_of_norms, random_map


def one(seed: int, seconds: float, every: bool) -> list[tuple[str, ...]]:
    """Activation, statement, verdict, and what the attack found, for one random map."""
    torch.set_num_threads(1)
    made = random_map(seed)
    asked = STATEMENTS if every else STATEMENTS[seed % len(STATEMENTS) :][:1]
    large = "product of norms above 2" if product_of_norms(made) > 2 else "product of norms up to 2"
    return [(made.activation, s, *attacked(made, s, seed=seed, seconds=seconds), large) for s in asked]


def table(found: list[tuple[str, ...]], column: int) -> list[dict[str, Any]]:
    rows = []
    for name in dict.fromkeys(record[column] for record in sorted(found)):
        part = [record for record in found if record[column] == name]
        verdicts = Counter(record[2] for record in part)
        wrong = sum(bool(record[3]) for record in part)
        counts = {verdict: verdicts[verdict] for verdict in ("certified", "refuted", "unknown")}
        rows.append({"of": name, "tried": len(part), **counts, "wrong": wrong})
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    print("\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")


def main() -> None:
    from joblib import Parallel, delayed

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--every", action="store_true", help="all three statements about each map, not one in turn")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.count)
    jobs = Parallel(n_jobs=given.jobs, return_as="generator_unordered", batch_size=8)
    found: list[tuple[str, ...]] = []
    for done, part in enumerate(jobs(delayed(one)(seed, given.seconds, given.every) for seed in seeds), 1):
        found += part
        for record in part:
            if record[3]:
                print("WRONG", record, flush=True)
        if done % 500 == 0:
            print(f"{done} maps", flush=True)
    rows = table(found, 1)
    show(rows)
    show(table(found, 0))
    large = [(f"{statement}, {size}", *rest) for _, statement, *rest, size in found]
    rows += [{**row, "of": row["of"]} for row in table([(name, name, *rest) for name, *rest in large], 0)]
    show(rows[len(STATEMENTS) :])
    write("soundness", rows)


if __name__ == "__main__":
    main()
