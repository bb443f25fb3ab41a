"""Leading exponents of networks that are large both ways: block Lanczos, power iteration, and dense Jacobians.

Run with ``python -m bench.spectra`` (``--quick`` for fewer points, ``--only NETWORK``).

Power iteration gets the same products with Jacobian and transpose, on a graph that is kept, and is told the answer: it
takes exactly as many steps as bring every point within 1e-6 nats of it (or as many as it is allowed). Ours stops by its
own residuals, and is timed with everything around it: looking at the network, the search for products that the model
allows, and the residuals measured at the end. Dense means torch.func's ``vmap(jacrev)`` in chunks, and singular values.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import separatrix as sx
from bench.timing import median, once, rounds, write
from separatrix.systems.guest import Guest
from separatrix.tangent.lanczos_route import JacobianProducts, Rule
from separatrix.tangent.routes import Task
from separatrix.tangent.spectrum import Wanted
from separatrix.testing.zoo_large import ResNet18

WITHIN, MOST = 1e-6, 500


def convolutions() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 4, 3)]
    return nn.Sequential(*layers, nn.Flatten()).eval()


class Stages(nn.Module):
    """The first two stages of a ResNet-18, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = ResNet18()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        w = self.whole
        h = nn.functional.max_pool2d(torch.relu(w.norm(w.stem(x))), 3, 2, 1)
        return w.stages[1](w.stages[0](h)).flatten(1)


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int, int]] = {
    # network, shape of an input, points, points that the dense contestant is timed on, repeats (0: once, cold)
    "convolutions": (convolutions, (1, 20, 20), 32, 8, 5),
    "ResNet-18, logits": (ResNet18, (3, 64, 64), 4, 1, 0),
    "ResNet-18, second stage": (Stages, (3, 64, 64), 4, 0, 0),
}


def ours(model: nn.Module, x: Tensor) -> Tensor:
    """Leading stretches."""
    field = sx.ftle(model, x, method="lanczos", memory="1GB")
    assert bool((field.converged == 1).all()), "not converged"
    return torch.from_numpy(field.stretch.values[0, 0, :, 0])


def power(model: nn.Module, x: Tensor, steps: int, known: Tensor | None = None) -> tuple[Tensor, int]:
    """Plain power iteration on J'J; where the answer is known, it ends when every point is near it."""
    guest = Guest(model)
    with guest.visit():
        task = Task(guest, ["output"], torch.ones(x[0].numel()), Wanted())
        maps = JacobianProducts(task, x, 1, Rule(twice=True, plain=False))
        v = torch.randn(1, 1, maps.inputs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        v = v.expand(len(x), 1, maps.inputs)
        done = 0
        while True:
            pushed, done = maps.apply(v / v.norm(dim=2, keepdim=True)), done + 1
            log = pushed.norm(dim=2)[:, 0].log()
            if done == steps or (known is not None and bool(((log - known).abs() <= WITHIN).all())):
                return log, done
            v = maps.transpose(pushed)


def dense(model: nn.Module, x: Tensor) -> Tensor:
    """Jacobians by torch.func, in chunks of rows, and their singular values."""
    rows = torch.func.vmap(torch.func.jacrev(lambda v: model(v[None])[0], chunk_size=32))
    found = []
    with torch.no_grad():
        for point in x:
            jacobian = rows(point[None]).flatten(2)
            found.append(torch.linalg.svdvals(jacobian)[:, 0].double().log())
    return torch.cat(found)


def compare(name: str, quick: bool) -> dict[str, object]:
    make, shape, count, few, repeats = CASES[name]
    model = make().requires_grad_(False)
    count = max(1, count // 4) if quick else count
    x = torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))
    # in float64, whose residuals are a hundred times smaller
    exact = ours(make().double().requires_grad_(False), x.double())
    answers: dict[str, Tensor] = {}
    steps = MOST

    def power_told() -> None:
        nonlocal steps
        answers["power"], steps = power(model, x, MOST, exact)

    def ours_kept() -> None:
        answers["ours"] = ours(model, x)

    told, kept = once(power_told, lambda: None), once(ours_kept, lambda: None)
    if repeats:
        run = {"ours": partial(ours, model, x), "power": partial(power, model, x, steps)}
        seconds = rounds(run, repeats, lambda: None)
        kept, told = median(seconds["ours"]), median(seconds["power"])
    row: dict[str, object] = {
        "network": name,
        "inputs": x[0].numel(),
        "outputs": model(x[:1]).numel(),
        "points": count,
        "ours, s": kept,
        "error, nat": float((answers["ours"] - exact).abs().max()),
        "power iteration, s": told,
        "its steps": steps,
        "its error, nat": float((answers["power"] - exact).abs().max()),
        "power / ours": told / kept,
    }
    if few:
        part = x[: min(few, count)]

        def dense_kept() -> None:
            answers["dense"] = dense(model, part)

        row["dense, s"] = once(dense_kept, lambda: None) * count / len(part)
        row["dense / ours"] = float(row["dense, s"]) / kept  # type: ignore[arg-type]
        row["difference to dense, nat"] = float((answers["dense"] - exact[: len(part)]).abs().max())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=list(CASES))
    options = parser.parse_args()
    rows = []
    for name in CASES:
        if options.only in (None, name):
            rows.append(compare(name, options.quick))
            for key, value in rows[-1].items():
                print(f"{key:>26}  {value:.3g}" if isinstance(value, float) else f"{key:>26}  {value}", flush=True)
    if not options.quick and not options.only:
        print("written to", write("spectra", rows).name)


if __name__ == "__main__":
    main()
