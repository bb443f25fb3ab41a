"""Points of an approximate zero set moved onto the exact one: Newton along the gradient, else bisection of an edge."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Along = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``(positions (p, 2), which (p,)) -> (f (p,), gradient (p, 2))``; ``which`` tells the points by their numbers."""

_STEPS = 40
_REACH = 1.0
_TIP = 10.0


def to_zero(
    evaluate: Along,
    start: Float[Tensor, "p 2"],
    free: Float[Tensor, "p 2"],
    ends: Float[Tensor, "p 2 2"],
    precise: float,
) -> tuple[Float[Tensor, "p 2"], Bool[Tensor, " p"]]:
    """Move each point to where f = 0.

    Parameters
    ----------
    evaluate : callable
        f and its gradient; lengths are in units of cells.
    start : Tensor, shape (p, 2)
        Where the points are.
    free : Tensor, shape (p, 2)
        1 for a coordinate that may change, 0 for one that is held (along a border).
    ends : Tensor, shape (p, 2, 2)
        Two places each, with f >= 0 at the first and f <= 0 at the second, for what Newton does not solve.
    precise : float
        Step, in cells, below which a point has arrived; rounding is what is left then.

    Returns
    -------
    position : Tensor, shape (p, 2)
    solved : Tensor of bool, shape (p,)
        False where no zero was found within a cell; the position is then the start.

    Notes
    -----
    Steps that do not make |f| smaller are shortened; kinks do no harm. Cost: usually 4 to 6 evaluations.
    """
    position, solved = _newton(evaluate, start, free, precise)
    left = (~solved).nonzero()[:, 0]
    if len(left):
        found, good = _bisect(evaluate, ends[left], left, precise)
        position[left[good]] = found[good]
        solved[left[good]] = True
    return torch.where(solved[:, None], position, start), solved


def _newton(evaluate: Along, start: Tensor, free: Tensor, precise: float) -> tuple[Tensor, Tensor]:
    position, share = start.clone(), torch.ones(len(start), dtype=torch.float64)
    f, g = evaluate(position, torch.arange(len(start)))
    step = _step(f, g, free)
    active = torch.arange(len(start))
    for _ in range(_STEPS):
        size = step[active].norm(dim=1)
        # what cannot be made smaller is rounding, once the step is small
        going = (size > 1e-16) & torch.isfinite(size) & ((share[active] == 1) | (size > precise))
        active = active[going & (share[active] > 1e-3)]
        if not len(active):
            break
        # a step longer than a cell leads elsewhere
        limit = (_REACH / step[active].norm(dim=1)).clamp(max=1) * share[active]
        trial = position[active] + limit[:, None] * step[active]
        f_trial, g_trial = evaluate(trial, active)
        better = f_trial.abs() < f[active].abs()
        taken = active[better]
        position[taken], f[taken], g[taken] = trial[better], f_trial[better], g_trial[better]
        share[taken] = 1
        share[active[~better]] /= 4
        step[taken] = _step(f[taken], g[taken], free[taken])
    near = (position - start).norm(dim=1) <= _REACH
    exact = (f == 0) | (step.norm(dim=1) <= precise)
    return position, near & exact


def _step(f: Tensor, g: Tensor, free: Tensor) -> Tensor:
    along = g * free
    return -f[:, None] * along / along.square().sum(1, keepdim=True)


def _bisect(evaluate: Along, ends: Tensor, which: Int[Tensor, " p"], precise: float) -> tuple[Tensor, Tensor]:
    """Halve the way between the two places until it is as short as numbers allow."""
    above, below = ends[:, 0].clone(), ends[:, 1].clone()
    top, bottom = evaluate(above, which)[0], evaluate(below, which)[0]
    for _ in range(60):
        middle = (above + below) / 2
        f = evaluate(middle, which)[0]
        upper = f >= 0
        above, below = torch.where(upper[:, None], middle, above), torch.where(upper[:, None], below, middle)
    value = evaluate(above, which)[0]
    # a jump is crossed as well as a zero, but there f does not become small
    small = value.abs() <= precise * torch.maximum(top.abs(), bottom.abs())
    return above, (top >= 0) & (bottom <= 0) & small


def to_triple_point(
    evaluate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], start: Float[Tensor, "p 2"], precise: float
) -> tuple[Float[Tensor, "p 2"], Bool[Tensor, " p"]]:
    """Move each point to where two functions are zero, by Newton in two unknowns, at most ten cells far.

    The tip of a narrow region lies further away than a cell from where the grid sees it end. ``evaluate`` returns both
    values (p, 2) and both gradients (p, 2, 2), gradient last.
    """
    everyone = torch.arange(len(start))
    position = start.clone()
    F, G = evaluate(position, everyone)
    best = torch.full((len(start),), torch.inf, dtype=torch.float64)
    for _ in range(_STEPS):
        step, info = torch.linalg.solve_ex(G, -F[..., None])
        step = step[..., 0]
        size = step.norm(dim=1)
        sound = (info == 0) & torch.isfinite(size)
        better = sound & (size < best)
        best = torch.where(better, size, best)
        if not bool((better & (size > 1e-16)).any()):
            break
        limit = (2 * _REACH / size.clamp(min=1e-300)).clamp(max=1)
        position = torch.where(better[:, None], position + limit[:, None] * step, position)
        F, G = evaluate(position, everyone)
    solved = (best <= precise) & ((position - start).norm(dim=1) <= _TIP)
    return torch.where(solved[:, None], position, start), solved
