"""Exponents and covariant vectors: 1,000 orbits in one call, and peers that take one orbit after the other.

Run with ``python -m bench.lyapunov --peers FOLDER`` (``--quick`` for less), where FOLDER is a site-packages with clvlib
and lyapynov, searched after our own. One thread, processor time, the least of several rounds in turns. Peers get
Jacobians written by hand, this library the map or field alone. The defect is 1 - |cos| between M_n v_2(n) and
v_2(n + 1) on the Henon map, which is 0 for a covariant vector. Memory is the peak of a process of its own, for a run
whose triangular factors and frames would not fit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from bench.timing import once, rounds, write
from separatrix.systems.flow import Flow
from separatrix.systems.maps import Map
from separatrix.tangent.covariant import covariant
from separatrix.tangent.lyapunov import lyapunov

DT = 0.01
Field = Callable[[Any], Any]


def henon(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([1 - 1.4 * x[:, 0] ** 2 + x[:, 1], 0.3 * x[:, 0]], dim=1)


def henon_one(x: np.ndarray, t: float = 0) -> np.ndarray:
    return np.array([1 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]])


def henon_jacobian(x: np.ndarray, t: float = 0) -> np.ndarray:
    return np.array([[-2.8 * x[0], 1.0], [0.3, 0.0]])


def lorenz(s: torch.Tensor) -> torch.Tensor:
    x, y, z = s.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)


def lorenz_one(s: np.ndarray, t: float = 0) -> np.ndarray:
    x, y, z = s
    return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])


def lorenz_jacobian(s: np.ndarray, t: float = 0) -> np.ndarray:
    x, y, z = s
    return np.array([[-10.0, 10.0, 0.0], [28 - z, -1.0, -x], [y, x, -8 / 3]])


CASES: dict[str, tuple[Any, Field, Field, int]] = {
    "Henon map": (Map(henon), henon_one, henon_jacobian, 2),
    "Lorenz-63, RK4": (Flow(lorenz, DT), lorenz_one, lorenz_jacobian, 3),
}


def peer_exponents(name: str, steps: int) -> dict[str, Callable[[], Any]]:
    import clvlib
    import lyapynov

    _, f, jacobian, n = CASES[name]
    discrete, dt = n == 2, 1.0 if n == 2 else DT
    start = np.full(n, 0.1)
    times = np.arange(steps + 1) * dt
    kind = lyapynov.DiscreteDS if discrete else lyapynov.ContinuousDS
    stepper = "discrete" if discrete else "rk4"
    return {
        "clvlib": lambda: clvlib.lyap_exp_from_ic(
            lambda t, x: f(x), lambda t, x: jacobian(x), start, times, stepper=stepper
        ),
        "lyapynov": lambda: lyapynov.LCE(kind(start, 0, f, jacobian, dt), n, 0, steps, False),
    }


def peer_vectors(name: str, steps: int) -> dict[str, Callable[[], Any]]:
    """Vectors of as many steps as the window has, with half of that before and after it."""
    import clvlib
    import lyapynov

    _, f, jacobian, n = CASES[name]
    discrete, dt = n == 2, 1.0 if n == 2 else DT
    start = np.full(n, 0.1)
    times = np.arange(2 * steps + 1) * dt
    kind = lyapynov.DiscreteDS if discrete else lyapynov.ContinuousDS
    stepper = "discrete" if discrete else "rk4"
    return {
        "clvlib": lambda: clvlib.lyap_analysis_from_ic(
            lambda t, x: f(x), lambda t, x: jacobian(x), start, times, stepper=stepper
        ),
        "lyapynov": lambda: lyapynov.CLV(
            kind(start, 0, f, jacobian, dt), n, 0, steps // 2, steps, steps - steps // 2, True
        ),
    }


def compare(name: str, what: str, members: int, steps: int, repeats: int) -> dict[str, Any]:
    system, _, _, n = CASES[name]
    states = 0.1 + 0.01 * torch.rand(members, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    half = steps // 2
    if what == "exponents":
        ours = lambda x: lyapunov(system, x, steps=steps, every=steps)  # noqa: E731
        peers = peer_exponents(name, steps)
    else:
        ours = lambda x: covariant(system, x, steps=steps, spinup=half, spindown=steps - half, vectors=1)  # noqa: E731
        peers = peer_vectors(name, steps)
    times = rounds({"ours": lambda: ours(states), **peers}, repeats, lambda: None, time.process_time)
    seconds = {name: min(values) for name, values in times.items()}
    taken = seconds["ours"]
    alone = min(once(lambda: ours(states[:1]), lambda: None, time.process_time) for _ in range(repeats))
    row: dict[str, Any] = {
        "case": name, "what": what, "members": members, "steps": steps, "processor seconds": taken,
        "us per orbit and step": taken / members / steps * 1e6,
        "one orbit, us per step": alone / steps * 1e6,
    }  # fmt: skip
    for peer in peers:
        row[f"{peer}, us per step"] = seconds[peer] / steps * 1e6
        row[f"{peer}, ratio"] = seconds[peer] * members / taken
    return row


def defects(steps: int = 400) -> dict[str, Any]:
    """Defects of the second vector in the middle half of a run on the Henon map, by each contestant."""
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    mine = covariant(
        CASES["Henon map"][0], torch.tensor([0.1, 0.1]).double(), steps=steps // 2, spinup=steps // 4,
        spindown=steps // 4, vectors=1,
    )  # fmt: skip
    x, orbit = torch.tensor([0.1, 0.1]).double(), []
    for _ in range(steps):
        orbit.append(x.numpy())
        x = CASES["Henon map"][0].step(x)  # an orbit of its own: one that is rounded otherwise is soon elsewhere
    quarter = steps // 4
    found["separatrix"] = mine.vector.values[0, :, 1], np.array(orbit[quarter : quarter + steps // 2])
    vectors, history = peer_vectors("Henon map", steps // 2)["lyapynov"]()
    found["lyapynov"] = np.array(vectors)[:-1, :, 1], history[:-1]
    result = peer_vectors("Henon map", steps // 2)["clvlib"]()
    found["clvlib"] = result[4][quarter : 3 * quarter, :, 1], result[6][quarter : 3 * quarter]
    row: dict[str, Any] = {"what": "defect of the second vector"}
    for name, (v, states) in found.items():
        carried = np.einsum("tij,tj->ti", np.array([henon_jacobian(s) for s in states[:-1]]), v[:-1])
        cosine = np.abs((carried * v[1:]).sum(1)) / np.linalg.norm(carried, axis=1) / np.linalg.norm(v[1:], axis=1)
        row[f"{name}, median"], row[f"{name}, worst"] = float(np.median(1 - cosine)), float((1 - cosine).max())
    return row


LONG = """
import resource, sys, time, torch
from separatrix.systems.protocol import System
from separatrix.tangent.covariant import covariant
torch.set_num_threads(1)

class Ring(System):
    def dim(self, t=0):
        return 40
    def step(self, s, t):
        x, y = s[..., :20], s[..., 20:]
        return torch.cat([1 - 1.4 * x * x + y + 0.01 * x.roll(1, -1), 0.3 * x], -1)
    def tangent(self, s, V, t):
        x, dx, dy = s[..., :20], V[..., :20], V[..., 20:]
        return self.step(s, t), torch.cat([-2.8 * x * dx + dy + 0.01 * dx.roll(1, -1), 0.3 * dx], -1)

start = 0.1 * torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
steps = int(sys.argv[1])
def run(steps):
    return covariant(Ring(), start, steps=steps, k=20, spinup=500, spindown=500, vectors=max(1, steps // 100),
                     memory=sys.argv[2])
run(50)
def top():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
# filled up to the peak that importing left behind, so that the next byte shows
before, ballast = top(), []
while top() == before:
    ballast.append(torch.ones(2**17, dtype=torch.float64))
before, begin = top(), time.perf_counter()
found = run(steps)
print(found.attrs["method"], found.attrs["segment"], top() - before, time.perf_counter() - begin)
"""


def memory(steps: int, budget: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", LONG, str(steps), budget], capture_output=True, text=True, check=True)
    method, segment, extra, seconds = done.stdout.split()
    return {
        "what": "memory", "components": 40, "vectors": 20, "steps": steps, "budget": budget, "method": method,
        "segment": int(segment), "peak MB": int(extra) / 1e6, "seconds": float(seconds),
        "factors alone, MB": steps * 20 * 20 * 8 / 1e6, "frames alone, MB": steps * 40 * 21 * 8 / 1e6,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", required=True, help="a site-packages folder with clvlib and lyapynov")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    sys.path.append(arguments.peers)
    os.environ["TQDM_DISABLE"] = "1"
    torch.set_num_threads(1)
    threadpool_limits(1)
    steps, repeats = (100, 3) if arguments.quick else (300, 5)
    rows = []
    for name in CASES:
        for what in ("exponents", "vectors"):
            rows.append(compare(name, what, 1000, steps if what == "exponents" else steps // 2, repeats))
            print(rows[-1], flush=True)
    rows.append(defects())
    print(rows[-1], flush=True)
    for count in (2_000, 10_000) if arguments.quick else (1_000, 10_000, 100_000):
        rows.append(memory(count, "16MB"))
        print(rows[-1], flush=True)
    print(write("lyapunov", rows))


if __name__ == "__main__":
    main()
