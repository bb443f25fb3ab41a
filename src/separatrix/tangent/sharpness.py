"""The largest curvatures of a loss at states of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.dataset import build
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.progress import Progress, track
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs
from separatrix.systems.training import Training
from separatrix.tangent.orbit_arguments import how_many

if TYPE_CHECKING:
    import xarray as xr

DENSE = 300
"""Weights up to which the Hessian is computed whole."""
FLAGS = ("ok", "nonfinite", "not_converged")
"""Meanings of ``status``."""
_TOGETHER = 10_000_000
"""Numbers of the dense Hessians that are held at once."""


def sharpness(
    system: Any,
    state: Any = None,
    *,
    t: int = 0,
    k: Any = 1,
    tol: float = 1e-3,
    seed: int = 0,
    progress: Progress = False,
) -> xr.Dataset:
    """Sharpness: the largest eigenvalues of the Hessian of the loss, by the weights, at states of a training.

    Gradient descent with rate lr is stable on a quadratic loss up to a sharpness of 2 / lr, and ln|1 - lr sharpness| is
    the rate per step at which it moves along the sharpest direction.

    Parameters
    ----------
    system : sx.Training
    state : tensor (*batch, n), optional
        Weights with the optimizer's memory, of which the weights count; the network's present ones when left out.
    t : int
        Step whose batch the loss is of.
    k : int or "all"
        How many eigenvalues, the algebraically largest first.
    tol : float
        Relative accuracy of those that are found by iteration.
    seed : int
        Of the first vector of the iteration.
    progress : bool or callable
        Show a bar of the members, or call with (done, total).

    Returns
    -------
    xarray.Dataset
        ``sharpness`` (member, index), ``residual`` (member, index): norm of H v - s v for the unit vector that was
        found, which bounds the distance of s from some eigenvalue, and ``status`` (member,): ok, nonfinite (the state
        or its derivatives left the floating-point numbers), not_converged. Numbers are NaN in the last two.

    Raises
    ------
    ArgumentError
        If the system is no training, the state does not fit it, or numbers are out of range.

    Notes
    -----
    Up to 300 weights all eigenvalues of the dense Hessian are computed. Above, ARPACK's Lanczos iteration needs some
    tens of Hessian-vector products for each member; that what it finds are the largest ones is likely, not proved.
    Weight decay is not a part of the Hessian.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> x, y = torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 1)
    >>> line = torch.nn.Linear(1, 1)
    >>> run = sx.Training(line, torch.nn.functional.mse_loss, (x, y), sx.optim.GradientDescent(lr=0.1))
    >>> sx.sharpness(run, k=2).sharpness.values.tolist()
    [[2.0, 2.0]]
    """
    if not isinstance(system, Training):
        raise ArgumentError("system", type(system).__name__, "give an sx.Training: sharpness is that of its loss")
    t, seed = whole("t", t, 0), whole("seed", seed, 0)
    if not isinstance(tol, float) or not 0 < tol < 1:
        raise ArgumentError("tol", repr(tol), "give a relative accuracy between 0 and 1, such as 1e-3")
    count = system.count
    k = how_many(k, count)
    dense = count <= DENSE
    if not dense and 2 * k >= count:
        raise ArgumentError("k", repr(k), f"an iteration finds fewer than half of {count:,} eigenvalues: give fewer")
    states = system.state_of() if state is None else state
    gradients = system.gradient(states, t).reshape(-1, count)
    states = states.detach().reshape(-1, states.shape[-1])
    members = len(states)
    values, residuals = np.full((2, members, k), np.nan)
    finite = (torch.isfinite(states[:, :count]).all(-1) & torch.isfinite(gradients).all(-1)).cpu().numpy()
    status = np.where(finite, 0, 1).astype(np.int8)
    step = max(1, _TOGETHER // count**2) if dense else 1
    good = np.flatnonzero(finite)
    with track(progress, len(good), "members") as advance:
        for place in range(0, len(good), step):
            rows = good[place : place + step]
            part = states[torch.from_numpy(rows).to(states.device)]
            found = _dense(system, part, t, k) if dense else _iterated(system, part, t, k, tol, seed)
            values[rows], residuals[rows] = found
            advance(len(rows))
    lost = finite & np.isnan(values).any(1)
    status[lost] = 1 if dense else 2
    both = ("member", "index")
    return build(
        {
            "sharpness": (both, values, {"long_name": "largest eigenvalues of the Hessian of the loss"}),
            "residual": (both, residuals, {"long_name": "norm of H v - s v"}),
            "status": (("member",), status, flag_attrs(FLAGS)),
        },
        {"member": (("member",), np.arange(members)), "index": (("index",), np.arange(1, k + 1))},
        {
            "title": "Sharpness",
            "method": "dense Hessian" if dense else "ARPACK on Hessian-vector products",
            "weights": count,
            "provenance": provenance("sharpness", t=t, k=k, tol=tol, seed=seed),
        },
    )


def _dense(system: Training, states: Tensor, t: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    hessian = system.hessian(states, t).double()
    good = torch.isfinite(hessian).flatten(1).all(1)
    values, vectors = torch.linalg.eigh(torch.where(good[:, None, None], hessian, 0.0))
    values, vectors = values.flip(-1)[:, :k], vectors.flip(-1)[..., :k]
    residual = (hessian @ vectors - vectors * values[:, None]).norm(dim=1)
    lost = ~good[:, None]
    return values.masked_fill(lost, torch.nan).cpu().numpy(), residual.masked_fill(lost, torch.nan).cpu().numpy()


def _iterated(system: Training, states: Tensor, t: int, k: int, tol: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    count = system.count

    def product(v: np.ndarray) -> np.ndarray:
        V = torch.from_numpy(np.ascontiguousarray(v)).to(states).reshape(1, 1, -1)
        found: np.ndarray = system.hessian_product(states, V, t)[0, 0].double().cpu().numpy()
        return found

    operator = LinearOperator((count, count), matvec=product, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(count)
    try:
        values, vectors = eigsh(operator, k=k, which="LA", v0=start, tol=tol, maxiter=max(20, 10 * k))
    except ArpackError:  # which not converging is one of, and a Hessian of zeros, that leaves no Krylov space
        if not product(start).any():
            return np.zeros((1, k)), np.zeros((1, k))
        return np.full((1, k), np.nan), np.full((1, k), np.nan)
    order = np.argsort(-values)
    residual = [np.linalg.norm(product(vectors[:, i]) - values[i] * vectors[:, i]) for i in order]
    return values[None, order], np.array(residual)[None]
