"""Attacks on classifiers by gradients: the nearest image that is classified otherwise, and paths into a class.

Projected gradient descent after Madry et al., arXiv 1706.06083, in the Euclidean norm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Images = Float[Tensor, "n pixels"]
Classes = Int[Tensor, " n"]
Numbers = Float[Tensor, " n"]
Box = tuple[float, float] | None

PIXELS = (0.0, 1.0)


@dataclass(frozen=True)
class Search:
    """Parameters of :func:`margins`.

    Attributes
    ----------
    targets : int
        How many classes are aimed at, one after the other: those that are nearest by the gradients at the image.
    steps : int
        Gradient steps for one radius.
    stride : float
        Length of a step, in units of radius / steps.
    doublings, halvings : int
        The first radius is the distance by the gradients; how often it is doubled until an attack succeeds, and then
        the bracket halved.
    """

    targets: int = 3
    steps: int = 20
    stride: float = 2.5
    doublings: int = 5
    halvings: int = 5

    def described(self) -> str:
        """Parameters as text."""
        return (
            "projected gradient descent in the L2 norm, pixels kept in [0, 1], on the gap of the logits to each of the "
            f"{self.targets} classes that are nearest by the gradients at the image: {self.steps} normalised steps of "
            f"{self.stride:g}·radius/{self.steps}; the radius begins at the distance by the gradients, is doubled at "
            f"most {self.doublings} times and then bisected {self.halvings} times; at last the place of the change on "
            "the straight line to the image found"
        )


def margins(model: nn.Module, X: Images, y: Classes, search: Search, *, box: Box = PIXELS) -> tuple[Numbers, Images]:
    """Smallest distance found at which an image is no longer classified as ``y``, and the image there.

    An estimate from above: an attack that finds nothing proves nothing. Infinite, with the image itself, where no
    attack succeeded; zero where it is not classified as ``y`` to begin with. Cost: one gradient of all images for each
    class, and at most ``(doublings + halvings + 1) * steps`` for each target.
    """
    classes, guesses = nearest_classes(model, X, y, search.targets)
    count = classes.shape[1]
    many, truth = X.repeat_interleave(count, 0), y.repeat_interleave(count)
    distance, at = _bisected(model, many, truth, classes.flatten(), guesses.flatten(), search, box)
    distance, best = distance.view(-1, count).min(1)
    nearest = at.view(len(X), count, -1)[torch.arange(len(X)), best]
    return distance, torch.where((distance.isinf() | (distance == 0))[:, None], X, nearest)


def nearest_classes(
    model: nn.Module, X: Images, y: Classes, count: int
) -> tuple[Int[Tensor, "n count"], Float[Tensor, "n count"]]:
    """Classes that a linear model with the same logits and gradients would switch to first, and their distances."""
    with torch.enable_grad():
        at = X.detach().requires_grad_()
        logits = model(at)
        slopes = torch.stack(
            [torch.autograd.grad(one.sum(), at, retain_graph=True)[0] for one in logits.unbind(1)], dim=1
        )
    rows = torch.arange(len(X))
    gaps = (logits[rows, y][:, None] - logits).detach()
    distances = gaps / (slopes[rows, y][:, None] - slopes).norm(dim=2).clamp_min(1e-12)
    found = distances.scatter(1, y[:, None], torch.inf).topk(min(count, logits.shape[1] - 1), dim=1, largest=False)
    return found.indices, found.values


def walk(
    model: nn.Module, X: Images, target: int, *, step: float, count: int, box: Box = PIXELS
) -> Float[Tensor, "step n pixels"]:
    """Paths of steepest ascent of the log-odds of class ``target``, in steps of one length; (count + 1, n, pixels)."""
    y = torch.full((len(X),), target)
    path = [X]
    for _ in range(count):
        path.append(_boxed(path[-1] + step * uphill(model, path[-1], lambda logits: log_odds(logits, y)), box))
    return torch.stack(path)


def log_odds(logits: Float[Tensor, "n classes"], y: Classes) -> Numbers:
    """Ln P / (1 - P) of class ``y``; unlike the cross entropy it does not saturate where P is near 1."""
    own = logits.gather(1, y[:, None])[:, 0]
    return own - logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)


def uphill(model: nn.Module, X: Images, height: Callable[[Tensor], Tensor]) -> Images:
    """Unit vectors along the gradient, by the image, of a function of the logits."""
    with torch.enable_grad():
        at = X.detach().requires_grad_()
        (slope,) = torch.autograd.grad(height(model(at)).sum(), at)
    return slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-30)


def _bisected(
    model: nn.Module, X: Images, y: Classes, target: Classes, guess: Numbers, search: Search, box: Box
) -> tuple[Numbers, Images]:
    """Radii doubled and halved around the least at which an attack on the way to one class each succeeds."""
    at, distance = X.clone(), X.new_full((len(X),), torch.inf)
    distance[_wrong(model, X, y)] = 0.0
    low, high = X.new_zeros(len(X)), X.new_full((len(X),), torch.inf)
    first = 1.01 * guess.clamp(1e-3, 4.0)
    for attempt in range(search.doublings + search.halvings + 1):
        radius = torch.where(high.isinf(), first * 2.0 ** min(attempt, search.doublings), (low + high) / 2)
        todo = (distance > 0) & (high.isfinite() if attempt > search.doublings else high.isinf())
        rows = todo.nonzero()[:, 0]
        if not len(rows):
            continue
        found, image = _within(model, X[rows], y[rows], target[rows], radius[rows], search, box)
        image = _crossing(model, X[rows], image, y[rows])
        length = torch.where(found, (image - X[rows]).norm(dim=1), torch.inf)
        better = length < distance[rows]
        at[rows[better]], distance[rows[better]] = image[better], length[better]
        low[rows] = torch.where(found, low[rows], radius[rows])
        high[rows] = torch.where(found, torch.minimum(length, radius[rows]), high[rows])
        low = torch.minimum(low, high)
    return distance, at


def _within(
    model: nn.Module, X: Images, y: Classes, target: Classes, radius: Numbers, search: Search, box: Box
) -> tuple[Bool[Tensor, " n"], Images]:
    """Attack inside balls; whether it succeeded, and the nearest success."""
    at, best, least = X.clone(), X.clone(), X.new_full((len(X),), torch.inf)
    rows = torch.arange(len(X))
    for _ in range(search.steps):
        way = uphill(model, at, lambda logits: logits[rows, target] - logits[rows, y])
        way = at + (search.stride * radius / search.steps)[:, None] * way - X
        way = way * (radius / way.norm(dim=1).clamp_min(1e-12)).clamp_max(1.0)[:, None]
        at = _boxed(X + way, box)
        length = torch.where(_wrong(model, at, y), (at - X).norm(dim=1), torch.inf)
        better = length < least
        best[better], least[better] = at[better], length[better]
    return least.isfinite(), best


def _crossing(model: nn.Module, X: Images, found: Images, y: Classes) -> Images:
    """Point on the line from an image to one that is classified otherwise, just behind the change."""
    low, high = X.new_zeros(len(X), 1), X.new_ones(len(X), 1)
    for _ in range(12):
        middle = (low + high) / 2
        wrong = _wrong(model, X + middle * (found - X), y)[:, None]
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
    return X + high * (found - X)


def _wrong(model: nn.Module, X: Images, y: Classes) -> Bool[Tensor, " n"]:
    with torch.no_grad():
        return model(X).argmax(1) != y


def _boxed(X: Images, box: Box) -> Images:
    return X if box is None else X.clamp(*box)
