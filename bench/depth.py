"""Fields along depth: this library, torch.func and autograd, and the limit of (1 + d) forward passes.

Run with ``python -m bench.depth`` (``--quick`` for fewer points).
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import separatrix as sx
from bench.timing import median, once, rounds, write

NETWORKS = {
    "2-10x2-1": (2, [10] * 2, 1),
    "2-50x6-1": (2, [50] * 6, 1),
    "2-200x8-1": (2, [200] * 8, 1),
    "784-20x16-10": (784, [20] * 16, 10),
}
ENSEMBLE = "2-10x8-1"
SHAPES = {**NETWORKS, ENSEMBLE: (2, [10] * 8, 1)}
BUDGET = 512 * 10**6


def network(name: str, seed: int = 0) -> nn.Sequential:
    inputs, hidden, outputs = SHAPES[name]
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.Tanh()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def mnist(count: int) -> Tensor:
    """MNIST test images from the data directory, or uniform noise of the same shape where there are none."""
    path = Path(os.environ.get("SEPARATRIX_DATA", "data")) / "mnist" / "t10k-images-idx3-ubyte.gz"
    if not path.exists():
        print("MNIST is not in the data directory: timing on uniform noise of the same shape")
        return torch.rand(count, 784, generator=torch.Generator().manual_seed(0))
    raw = gzip.decompress(path.read_bytes())
    total, height, width = struct.unpack(">III", raw[4:16])
    images = torch.frombuffer(bytearray(raw[16:]), dtype=torch.uint8).reshape(total, height * width)
    return images[:count].float() / 255


def all_layers(model: nn.Sequential) -> Callable[[Tensor], list[Tensor]]:
    def run(x: Tensor) -> list[Tensor]:
        found = []
        for part in model:
            x = part(x)
            if isinstance(part, nn.Tanh):
                found.append(x)
        return [*found, x]

    return run


def functorch(transform: Callable, model: nn.Sequential, every: bool, chunk: int) -> Callable[[Tensor], object]:
    """The peers: per-sample Jacobians by vmap, then batched singular values."""
    run = all_layers(model) if every else lambda x: [model(x)]
    jacobians = torch.func.vmap(transform(lambda v: run(v)))

    def call(x: Tensor) -> list[Tensor]:
        parts = []
        with torch.no_grad():
            for piece in x.split(chunk):
                found = [torch.linalg.svdvals(j)[..., 0].log() for j in jacobians(piece)]
                parts.append(torch.stack(found))
        return torch.cat(parts, dim=1)

    return call


def autograd_loop(model: nn.Sequential, every: bool) -> Callable[[Tensor], object]:
    run = all_layers(model) if every else lambda x: [model(x)]

    def call(x: Tensor) -> None:
        for point in x:
            for j in torch.autograd.functional.jacobian(lambda v: tuple(run(v)), point):
                torch.linalg.svdvals(j)[0].log()

    return call


def plain_forward(model: nn.Sequential, chunk: int) -> Callable[[Tensor], object]:
    def call(x: Tensor) -> None:
        with torch.no_grad():
            for piece in x.split(chunk):
                model(piece)

    return call


def best_chunk(make: Callable[[int], Callable[[Tensor], object]], x: Tensor, sizes: list[int], sync: Callable) -> int:
    """The chunk with which a contestant is fastest: everybody is timed at his best."""
    times = {size: min(once(partial(make(size), x), sync) for _ in range(2)) for size in sizes if size <= 2 * len(x)}
    return min(times, key=lambda size: times[size])


def compare(name: str, quick: bool, device: str) -> list[dict]:
    model = network(name).to(device)
    plane = NETWORKS[name][0] == 2
    side = (64 if quick else 256) * (4 if device == "cuda" else 1)
    inputs = sx.grid((-1, 1), (-1, 1), shape=(side, side)) if plane else mnist(200 if quick else 2000).to(device)
    x = inputs.points().float().to(device) if plane else inputs
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None
    d = x.shape[1]
    sizes = [512, 2048, 4096, 8192, 16384, 65536] if device == "cpu" else [65536, 262144, 1048576]
    if not plane:
        sizes = [64, 256, 1000, 2000]
    chunk = best_chunk(partial(plain_forward, model), x, sizes, sync)
    rows = []
    for every in (True, False):
        layers = "all" if every else "output"
        contestants: dict[str, Callable] = {
            "separatrix": partial(sx.ftle, model, inputs, layers=layers, memory=BUDGET),
            "limit": partial(plain_forward(model, chunk), x),
        }
        seconds = {key: median(v) for key, v in rounds(contestants, 3 if quick else 7, sync).items()}
        result = contestants["separatrix"]()
        row = {"network": name, "layers": layers, "points": len(x), "method": result.method}
        row |= {"separatrix": seconds["separatrix"], "limit": (1 + d) * seconds["limit"]}
        for peer, transform in {"vmap(jacrev)": torch.func.jacrev, "vmap(jacfwd)": torch.func.jacfwd}.items():
            row[peer] = peer_seconds(partial(functorch, transform, model, every), x, sizes, sync)
            check = functorch(transform, model, every, 64)(x[:64])
            mine = torch.from_numpy(sx.ftle(model, x[:64], layers=layers).stretch[0, ..., 0].values)
            assert (check.cpu() - mine).abs().max() < 1e-4, "a peer computes something else"
        few = x[:16] if plane else x[:4]
        row["autograd loop"] = once(partial(autograd_loop(model, every), few), sync) * len(x) / len(few)
        row["peak MB"] = peak_memory(name, layers) if device == "cpu" and not quick else float("nan")
        rows.append(row)
        report(row)
    return rows


def peer_seconds(make: Callable[[int], Callable], x: Tensor, sizes: list[int], sync: Callable) -> float:
    """Seconds for all points, in the peer's best chunk; on as many of the points as take a few seconds."""
    pilot = x[: min(len(x), 256)]
    make(len(pilot))(pilot)
    each = once(partial(make(len(pilot)), pilot), sync) / len(pilot)
    part = x[: max(len(pilot), min(len(x), int(2 / each)))]
    fitting = [size for size in sizes if size <= len(part)] or [len(part)]
    call = make(best_chunk(make, part, fitting, sync))
    return min(once(partial(call, part), sync) for _ in range(3)) * len(x) / len(part)


def report(row: dict) -> None:
    ours = row["separatrix"]
    peers = {key: row[key] / ours for key in ("vmap(jacrev)", "vmap(jacfwd)", "autograd loop")}
    text = "  ".join(f"{key} {ratio:8.1f}x" for key, ratio in peers.items())
    print(
        f"{row['network']:>13} {row['layers']:>6} {row['points']:>7} points  {ours * 1e3:8.1f} ms  "
        f"{ours / row['limit']:6.2f} of the limit  slower: {text}  peak {row['peak MB']:.0f} MB  [{row['method']}]",
        flush=True,
    )


def compare_ensemble(quick: bool, device: str) -> list[dict]:
    """A stack in one call, and its members one by one."""
    count, side = 20 if quick else 100, 20
    grid = sx.grid((-1, 1), (-1, 1), shape=(side, side))
    stack = sx.ensembles.Stack([network(ENSEMBLE, seed) for seed in range(count)]).to(device)
    members = stack.members
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None
    rows = []
    for layers in ("all", "output"):
        contestants: dict[str, Callable] = {
            "separatrix": partial(sx.ftle, stack, grid, layers=layers, memory=BUDGET),
            "member by member": lambda layers=layers: [sx.ftle(m, grid, layers=layers, memory=BUDGET) for m in members],
        }
        seconds = {key: median(v) for key, v in rounds(contestants, 3 if quick else 7, sync).items()}
        rows.append({"network": f"{count} of {ENSEMBLE}", "layers": layers, "points": len(grid), **seconds})
        print(
            f"{rows[-1]['network']:>15} {layers:>6} {len(grid):>7} points  {seconds['separatrix'] * 1e3:8.1f} ms  "
            f"slower: member by member {seconds['member by member'] / seconds['separatrix']:8.1f}x",
            flush=True,
        )
    return rows


def peak_memory(name: str, layers: str) -> float:
    """Megabytes that the call, its result included, adds to the peak of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.depth", "--peak", name, layers], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def _print_peak(name: str, layers: str) -> None:
    torch.set_num_threads(1)
    model = network(name)
    plane = NETWORKS[name][0] == 2
    inputs = sx.grid((-1, 1), (-1, 1), shape=(256, 256)) if plane else mnist(2000)
    small = sx.grid((-1, 1), (-1, 1), shape=(4, 4)) if plane else inputs[:4]
    sx.ftle(model, small, layers=layers, memory=BUDGET)
    # the peak since now; what getrusage tells includes the program that started this one
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    sx.ftle(model, inputs, layers=layers, memory=BUDGET)
    print((_peak() - before) * 1024 / 1e6)


def _peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=list(SHAPES))
    parser.add_argument("--peak", nargs=2, metavar=("NETWORK", "LAYERS"))
    options = parser.parse_args()
    if options.peak:
        _print_peak(*options.peak)
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names = [name for name in NETWORKS if options.only in (None, name)]
    rows = [row for name in names for row in compare(name, options.quick, device)]
    if options.only in (None, ENSEMBLE):
        rows += compare_ensemble(options.quick, device)
    print("limit: (1 + d) plain forward passes of the same model and points, in its best chunk")
    if not options.quick and not options.only:
        print("written to", write("depth", rows).name)


if __name__ == "__main__":
    main()
