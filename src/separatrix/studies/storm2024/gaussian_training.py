"""Networks trained on two Gaussian classes, seen at each endpoint and for each loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.ensembles import make_members, train
from separatrix.studies.measurement import Baseline, Measurement
from separatrix.studies.wording import number
from separatrix.tangent.ftle import ftle

DROP = 2 * math.log(math.cosh(1.0))
"""How far ln sigma falls from the boundary to a distance of 2 / alpha in the closed forms that have a ridge."""

OFFSETS = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Where along the boundary profiles are taken."""


@dataclass(frozen=True)
class Settings:
    """Choices of the training.

    Attributes
    ----------
    alpha : float
        Distance of the two means; the standard deviation is 1.
    seeds : tuple of int
    points, batch, epochs, width : int
    rate : float
        Of Adam.
    """

    alpha: float
    seeds: tuple[int, ...]
    points: int = 20_000
    batch: int = 500
    epochs: int = 10
    width: int = 32
    rate: float = 5e-3

    def described(self) -> dict[str, str]:
        """Choices as text."""
        w = self.width
        return {
            "trained networks": f"2-{w}-{w}-1, tanh, {len(self.seeds)} seeds from {self.seeds[0]}, float64",
            "training": f"Adam {self.rate:g}, batch {self.batch}, {self.epochs} epochs, {self.points:,} points, "
            f"α = {self.alpha:g}; weights by PyTorch's defaults; one sample of points and one order for all seeds, "
            "so that the spread is that of the initial weights",
            "profiles": f"along the normal at {len(OFFSETS)} places of the boundary, averaged",
        }


@dataclass(frozen=True)
class Recipe:
    """A loss with the endpoints at which its networks are looked at: name -> (layer label, expected drop or None)."""

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    end: tuple[type[nn.Module], ...]
    seen_through: tuple[type[nn.Module], ...]
    endpoints: dict[str, tuple[str, float | None]]


RECIPES = (
    Recipe(
        "cross entropy",
        lambda z, t: nn.functional.binary_cross_entropy_with_logits(z, (t + 1) / 2),
        (),
        (nn.Sigmoid,),
        {"last hidden layer": ("3#1", None), "logit": ("4#1", 0.0), "probability": ("output", DROP)},
    ),
    Recipe(
        "squared error, linear output",
        nn.functional.mse_loss,
        (),
        (),
        {"last hidden layer": ("3#1", None), "output": ("output", DROP)},
    ),
    Recipe(
        "squared error, tanh output (the letter's)",
        nn.functional.mse_loss,
        (nn.Tanh,),
        (),
        {"last hidden layer": ("3#1", None), "before tanh": ("4#1", 0.0), "output": ("output", DROP)},
    ),
)


@dataclass(frozen=True)
class Profile:
    """Stretch along the normal, for one loss at one endpoint.

    Attributes
    ----------
    recipe, endpoint : str
    r : ndarray, shape (n,)
        Signed distance from the boundary.
    trained, untrained : ndarray, shape (seeds, n)
        ln sigma, averaged over places along the boundary.
    expected : float or None
        Drop in the closed form.
    """

    recipe: str
    endpoint: str
    r: np.ndarray
    trained: np.ndarray
    untrained: np.ndarray
    expected: float | None

    def drop(self, alpha: float, values: np.ndarray) -> np.ndarray:
        """Fall of ln sigma from the boundary to 2 / alpha on either side, shape (seeds,)."""
        at = [np.abs(self.r - where).argmin() for where in (-2 / alpha, 0.0, 2 / alpha)]
        left, middle, right = (values[:, i] for i in at)
        return middle - (left + right) / 2


def profiles(settings: Settings, normal: Tensor) -> list[Profile]:
    """Train with every loss, and take the profiles at all endpoints."""
    data = sample(settings, normal)
    r = torch.linspace(-1, 1, 61, dtype=torch.float64) * 4 / settings.alpha
    along = torch.stack([-normal[1], normal[0]])
    places = (torch.tensor(OFFSETS, dtype=torch.float64)[:, None, None] * along + r[:, None] * normal).reshape(-1, 2)
    found = []
    for recipe in RECIPES:

        def factory(recipe: Recipe = recipe) -> nn.Module:
            return _network(settings.width, recipe.end)

        trained = train(
            factory,
            data,
            seeds=settings.seeds,
            loss=recipe.loss,
            optimizer=functools.partial(torch.optim.Adam, lr=settings.rate),
            epochs=settings.epochs,
            batch_size=settings.batch,
        )
        labels = [label for label, _ in recipe.endpoints.values()]
        after = _along(trained.members, recipe, labels, places)
        before = _along(make_members(factory, settings.seeds, "torch"), recipe, labels, places)
        for i, (endpoint, (_, expected)) in enumerate(recipe.endpoints.items()):
            found.append(Profile(recipe.name, endpoint, r.numpy(), after[:, i], before[:, i], expected))
    return found


def sample(settings: Settings, normal: Tensor) -> tuple[Tensor, Tensor]:
    """Points of both classes, and their targets -1 and +1 of shape (n, 1)."""
    rng = np.random.default_rng(settings.seeds[0])
    t = np.where(np.arange(settings.points) % 2, 1.0, -1.0)
    X = rng.normal(size=(settings.points, 2)) + settings.alpha / 2 * t[:, None] * normal.numpy()
    return torch.from_numpy(X), torch.from_numpy(t)[:, None]


def measurements(found: Sequence[Profile], settings: Settings) -> list[Measurement]:
    """Drop of ln sigma away from the boundary, for every loss and endpoint, beside that of untrained networks."""
    made = []
    for profile in found:
        before = profile.drop(settings.alpha, profile.untrained)
        spread = float(before.std(ddof=1)) if len(before) > 1 else None
        made.append(
            Measurement.of_samples(
                f"trained, {profile.recipe}, at the {profile.endpoint}: drop of ln σ₁ at 2/α from the boundary".replace(
                    "the before", "the layer before"
                ),
                profile.drop(settings.alpha, profile.trained).tolist(),
                unit="nat",
                target=profile.expected,
                baseline=Baseline("untrained", float(before.mean()), spread),
            )
        )
    return made


def at_hidden(found: Sequence[Profile], settings: Settings) -> str:
    """One sentence on the drops at the last hidden layer."""
    drops = [
        f"{number(float(p.drop(settings.alpha, p.trained).mean()))} ({p.recipe})"
        for p in found
        if p.endpoint == "last hidden layer"
    ]
    return f"There ln σ₁ of the trained networks falls by {', '.join(drops)} nat from the boundary to 2/α beside it."


def _network(width: int, end: tuple[type[nn.Module], ...]) -> nn.Module:
    parts: list[nn.Module] = [nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)]
    return nn.Sequential(*parts, *(kind() for kind in end)).double()


def _along(members: Sequence[nn.Module], recipe: Recipe, labels: list[str], places: Tensor) -> np.ndarray:
    """Mean ln sigma_1 over the places along the boundary, shape (members, endpoints, r)."""
    rows = []
    for member in members:
        assert isinstance(member, nn.Sequential)
        seen = nn.Sequential(*member, *(kind() for kind in recipe.seen_through)).eval()
        values = ftle(seen, places, layers=labels)["stretch"].values[0, :, :, 0]
        rows.append(values.reshape(len(labels), len(OFFSETS), -1).mean(axis=1))
    return np.stack(rows)
