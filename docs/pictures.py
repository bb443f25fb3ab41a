"""Draw the README's pictures with the library itself: python docs/pictures.py."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import nn

import separatrix as sx
from separatrix.report.training import fit

FOLDER = Path(__file__).parent / "images"


def disc() -> None:
    """Fields at four layers of a network that learned a disc."""
    problem = sx.data.disc()
    model = fit(problem).model
    field = sx.ftle(model, sx.grid((-1.73, 1.73), (-1.73, 1.73), shape=(400, 400)), layers="hidden")
    chosen = field.layer.values[[0, 2, 4, 7]]
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.5), layout="constrained")
    for ax, label, depth in zip(axes, chosen, (1, 3, 5, 8), strict=True):
        sx.figures.field(field, ax, layer=label, directions=True, limits=4, colorbar=ax is axes[-1])
        ax.set_title(f"hidden layer {depth}", loc="left")
    figure.savefig(FOLDER / "disc.png", dpi=110)


def digits() -> None:
    """A plane through three digits, and exponents by layer."""
    problem = sx.data.digits()
    model = fit(problem).model
    three = [problem.X_test[(problem.y_test == d).nonzero()[0, 0]] for d in (3, 5, 8)]
    plane = sx.plane.through(*three, shape=(200, 200))
    field = sx.ftle(model, plane, layers="all", output=lambda z: z.softmax(-1))
    points = sx.ftle(model, problem.X_test, layers="all", k=5)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", width_ratios=(1, 1.25))
    marks = [(*corner.tolist(), str(d)) for corner, d in zip(plane.corners, (3, 5, 8), strict=True)]
    sx.figures.field(field, axes[0], layer="output", marks=marks)
    axes[0].set_title("probabilities, on the plane through three digits", loc="left")
    sx.figures.exponents_by_layer(points, axes[1])
    axes[1].set_title("five exponents by layer, over the test images", loc="left")
    figure.savefig(FOLDER / "digits.png", dpi=110)


def pendulum() -> None:
    """A damped pendulum that a network learned, and what is certified of it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2)).double()
    X = (2 * torch.rand(4000, 2, dtype=torch.float64) - 1) * torch.tensor([4.4, 3.3])
    velocity = torch.stack([X[:, 1], -X[:, 0].sin() - 0.5 * X[:, 1]], 1)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    for _ in range(1500):
        optimizer.zero_grad()
        (net(X) - velocity).square().mean().backward()
        optimizer.step()
        schedule.step()
    loop = sx.Loop(sx.Euler(net.requires_grad_(False), 0.1))
    box = ((-4.0, -3.0), (4.0, 3.0))
    found = sx.certify(loop, "stability", at=(0, 0), box=box)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    points = sx.equilibria(loop, box)
    basins = sx.basins(loop, sx.grid(*zip(*box, strict=True), shape=200))
    sx.phase_portrait(loop, box, starts=0, basins=basins, equilibria=points, ax=axes[0])
    sx.phase_portrait(loop, box, starts=0, certificate=found, equilibria=points, ax=axes[1])
    for ax, words in zip(axes, ("measured: basins of iterated points", "proved: a region of attraction"), strict=True):
        ax.set_xlabel(f"x₁      ({words})")
    figure.savefig(FOLDER / "pendulum.png", dpi=110)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    disc()
    digits()
    pendulum()
