"""Refutations: witnesses against every metric, each found in floating point and then shown by interval arithmetic."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from separatrix.certificates.problem import Failure, Problem, Proof, with_constant_input
from separatrix.certificates.refutation.candidates import Candidates
from separatrix.certificates.refutation.witnesses import KINDS, STATEMENTS
from separatrix.systems.lure import Lure

METHOD = "refutation"


def verify_refutation(problem: Problem, statement: str, at: Tensor | None, data: dict[str, Any]) -> Proof | Failure:
    """Show again, from its data alone, that a witness refutes a statement.

    Parameters
    ----------
    problem : Problem
        With inputs, the witness is one of the map with the constant input in the middle of ``u_box``.
    statement : str
        "contraction", "stability" or "boundedness"; without a box in ``problem`` about all of space.
    at : Tensor (n,), or None
        For local stability, a point near the equilibrium.
    data : dict
        ``kind``, a key of :data:`KINDS`, and what that kind takes.

    Returns
    -------
    Proof or Failure
        A proof that the statement is wrong, for every metric, in exact arithmetic with the stored weights.

    Notes
    -----
    No search and no solver; a few passes of interval arithmetic through the network.
    """
    kind = KINDS.get(str(data.get("kind")))
    if kind is None or statement not in kind.statements:
        return Failure(METHOD, f"a witness of kind {data.get('kind')!r} says nothing of {statement}")
    if problem.network.outputs != problem.n or not _fits(data, problem.n):
        return Failure(METHOD, "data of the wrong shape, or not finite")
    try:
        margin = kind.margin(with_constant_input(problem), problem, data, statement, at)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, OverflowError) as error:
        return Failure(METHOD, f"data that cannot be read: {error}")
    if not (margin > 0 and math.isfinite(margin)):
        return Failure(METHOD, f"the witness ({data['kind']}) does not stand up to interval arithmetic")
    notes: tuple[str, ...] = (kind.says,)
    if problem.m and "input" not in data:
        notes += ("with the constant input in the middle of its box",)
    return Proof(f"refutation: {data['kind']}", margin=margin, data=dict(data), notes=notes)


def refute(
    problem: Problem, statement: str, at: Tensor | None, *, seconds: float = 2.0, seed: int = 0
) -> Proof | Failure:
    """Look for a witness against a statement, in every metric.

    Parameters
    ----------
    problem, statement, at
        As in :func:`verify_refutation`.
    seconds : float
        After which no new kind of witness is looked for.
    seed : int
        Of the random points where the search starts.

    Returns
    -------
    Proof or Failure
        A proof that the statement is wrong, with the witness in ``data``; or in words what speaks against the statement
        without being a proof.

    Notes
    -----
    Statements are refuted by

    - two equilibria, a cycle, an equilibrium at which the derivative exists and has a spectral radius above 1;
    - for contraction, Jacobians at any points whose product has a spectral radius above 1: a common metric would bound
      it by the product of their norms;
    - directions that grow: a ray of a homogeneous map, or a cone or set of directions of what the map looks like from
      far away; for maps of one number also a drift outwards;
    - for boundedness on a box, a point that leaves it.

    Stability is meant in Lyapunov's sense too: an unstable equilibrium refutes it, whatever comes back to it later.
    That witness is the last to be tried.
    """
    if statement not in STATEMENTS or problem.network.outputs != problem.n:
        return Failure(METHOD, f"no witnesses are known against {statement}")
    network = with_constant_input(problem)
    if not _finite(network):
        return Failure(METHOD, "weights that are NaN or infinite", "repair the model")
    end = time.monotonic() + seconds
    evidence: list[str] = []
    search = Candidates(network, problem, statement, at, torch.Generator().manual_seed(seed), evidence)
    advice = ""
    for data in search.all():
        if data is not None:
            found = verify_refutation(problem, statement, at, data)
            if isinstance(found, Proof):
                return found
        if time.monotonic() > end:
            evidence.append(f"the search for witnesses ended after {seconds:.3g} s")
            advice = "more seconds (budget=) may find a witness"
            break
    return Failure(
        METHOD,
        "; ".join(["no witness was found", *evidence]),
        advice,
    )


def _finite(network: Lure) -> bool:
    return all(
        bool(torch.isfinite(part).all()) for block in network.blocks for part in (*block.weights.values(), block.bias)
    )


def _fits(data: dict[str, Any], n: int) -> bool:
    """Whether all tensors are of finite float64 numbers, or whole ones, and points have n components."""
    for key, value in data.items():
        if isinstance(value, Tensor):
            if not bool(torch.isfinite(value).all()) or value.dtype not in (torch.float64, torch.int64):
                return False
            if key in ("points", "point", "basis", "inverse") and (value.ndim == 0 or value.shape[-1] != n):
                return False
    return True
