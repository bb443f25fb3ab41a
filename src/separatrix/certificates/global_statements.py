"""Contraction, stability, boundedness and Lipschitz bounds in all of space, from the sectors of the activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from separatrix.certificates.gains.gain import find_gain, verified_gain
from separatrix.certificates.gains.layer_norms import spreads
from separatrix.certificates.gains.sectors import Sectors, chord_sectors, recession_sectors, slope_sectors
from separatrix.certificates.problem import Failure, Problem, Proof
from separatrix.certificates.reference import Reference, reference, rest_point
from separatrix.certificates.verified import TINY, UP, at_most
from separatrix.systems.lure import Lure

WINDOW = 1e-6
"""Half-width, relative to the pre-activations' size, in which slopes about an equilibrium are taken as well."""
_ROOM = 1e-6
"""What a ball is larger by than the one that orbits tend to, so that they enter it."""
_SMALLEST = 1e-12
"""Least radius: where all orbits tend to the origin, some ball has to be named."""


def prove_contraction(problem: Problem, *, norm: str, seconds: float) -> Proof | Failure:
    """|f(x) - f(y)| <= q |x - y| with q < 1 for all x and y, by the range of slopes of every activation."""
    gain, tried = find_gain(problem.network, slope_sectors(problem.network), problem.n, norm=norm, seconds=seconds)
    if gain is None or gain.rate >= 1:
        return Failure("contraction by sectors", "; ".join(tried))
    return verify_contraction(problem, gain.data())


def verify_contraction(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again."""
    gain = verified_gain(problem.network, slope_sectors(problem.network), problem.n, data)
    if gain is None or gain.rate >= 1:
        return Failure("contraction by sectors", "the rate does not hold")
    return Proof("contraction by sectors", gain.rate, gain.norm, None, 1 - gain.rate, gain.data())


def prove_lipschitz(problem: Problem, *, norm: str, seconds: float) -> Proof | Failure:
    """|f(x) - f(y)| <= L |x - y| for all x and y in a plain norm; a metric is looked for in the 2-norm only."""
    wanted = "2" if norm == "best" else norm
    sectors = slope_sectors(problem.network)
    gain, tried = find_gain(problem.network, sectors, problem.n, norm=wanted, seconds=seconds, target=0.0)
    if gain is None:
        return Failure("Lipschitz bound by sectors", "; ".join(tried))
    return verify_lipschitz(problem, gain.data())


def verify_lipschitz(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again."""
    gain = verified_gain(problem.network, slope_sectors(problem.network), problem.n, data)
    plain = None if gain is None else gain.plain
    if gain is None or plain is None:
        return Failure("Lipschitz bound by sectors", "the bound does not hold in a plain norm")
    return Proof("Lipschitz bound by sectors", None, plain, gain.rate, 0.0, gain.data())


def prove_boundedness(problem: Problem, *, norm: str, seconds: float) -> Proof | Failure:
    """One ball about the origin that every orbit enters and stays in.

    Every activation is a slope times its argument and a bounded rest, with the slopes of chords from the origin, or
    those far out. If |A x| <= r |x| with r < 1 for all such slopes, and |f(x) - A x| <= beta, then |f(x)| <= r |x| +
    beta, and balls of radius beta/(1 - r) and more are entered or kept.
    """
    best: Proof | None = None
    why: list[str] = []
    for name, sectors in _boundedness_sectors(problem.network).items():
        gain, tried = find_gain(problem.network, sectors, problem.n, norm=norm, seconds=seconds)
        if gain is None or gain.rate >= 1:
            why.append(f"{name}: {'; '.join(tried)}")
            continue
        proof = verify_boundedness(problem, {"sectors": name, **gain.data()})
        if isinstance(proof, Failure):
            why.append(f"{name}: {proof.reason}")
        elif best is None or _reach(proof) < _reach(best):
            best = proof
    return best or Failure("boundedness by sectors", "; ".join(why))


def verify_boundedness(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again."""
    sectors = _boundedness_sectors(problem.network).get(str(data.get("sectors")))
    gain = None if sectors is None else verified_gain(problem.network, sectors, problem.n, data)
    if sectors is None or gain is None or gain.rate >= 1:
        return Failure("boundedness by sectors", "the rate does not hold")
    rest = gain.size(_offset(problem, sectors))
    radius = max(rest / (1 - gain.rate) * (1 + _ROOM), _SMALLEST)
    if not radius < torch.inf:
        return Failure("boundedness by sectors", "the rest has no bound")
    reach = radius * gain.reach(problem.n) * UP
    notes = (f"|f(x)| <= {at_most(gain.rate)} |x| + {at_most(rest)}",)
    data = {"sectors": data["sectors"], **gain.data(), "reach": reach}
    return Proof("boundedness by sectors", gain.rate, gain.norm, radius, 1 - gain.rate, data, notes)


def _reach(proof: Proof) -> float:
    return float(proof.data["reach"].max())


def _boundedness_sectors(network: Lure) -> dict[str, Sectors]:
    lo, hi, rest = [], [], []
    for block in network.blocks[:-1]:
        assert block.curve is not None
        ones = torch.ones_like(block.bias)
        lo.append(ones * block.curve.chord_range[0])
        hi.append(ones * block.curve.chord_range[1])
        rest.append(ones * abs(block.curve.at_zero) * UP)
    return {"chords from the origin": Sectors(lo, hi, rest), "slopes far out": recession_sectors(network)}


def _offset(problem: Problem, sectors: Sectors) -> Tensor:
    """Bound of |f(x, u) - A x|: what biases, inputs and rests come to at the output."""
    assert sectors.rest is not None
    lo, hi = problem.u_box
    start = torch.cat([torch.zeros(problem.n, dtype=torch.float64), torch.maximum(lo.abs(), hi.abs())])
    values = [start]
    for k, block in enumerate(problem.network.blocks):
        z = block.bias.abs()
        for source, weight in block.weights.items():
            z = z + weight.abs() @ values[source]
        z = z * UP + TINY
        if k == len(problem.network.blocks) - 1:
            return z
        values.append((sectors.largest[k] * z + sectors.rest[k]) * UP + TINY)
    raise AssertionError


def prove_stability(problem: Problem, *, norm: str, seconds: float) -> Proof | Failure:
    """One equilibrium that attracts every start, by the chords of every activation from the equilibrium.

    f(x) - f(c) = A (x - c) with chords in place of slopes. If |A| <= r < 1 for all of them, orbits come to c from
    everywhere at that rate, although two of them may part on the way.
    """
    name = "attraction by chords"
    if problem.driven:
        return Failure(name, "an input that changes moves the equilibrium", "ask for contraction or boundedness")
    centre = rest_point(problem)
    if centre is None:
        return Failure(name, "no equilibrium was found", "ask for boundedness")
    about = reference(problem, centre)
    sectors = _about(problem, about, WINDOW)
    gain, tried = find_gain(problem.network, sectors, problem.n, norm=norm, seconds=seconds)
    if gain is None or gain.rate >= 1:
        return Failure(name, "; ".join(tried))
    return verify_stability(problem, {"centre": centre, "window": WINDOW, **gain.data()})


def _about(problem: Problem, about: Reference, window: float) -> Sectors:
    wide = [window * (1 + z.abs()) for z in about.preactivations]
    return chord_sectors(problem.network, about.preactivations, wide)


def verify_stability(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again, and that the equilibrium exists.

    The centre is an equilibrium but for rounding: |f(x) - c| <= r |x - c| + e. So every orbit enters the ball of
    radius R > e/(1 - r), which is mapped into itself; there pre-activations stay within the window, where slopes lie in
    the sectors too, so that f contracts on the ball and has one fixed point there (Banach).
    """
    name, n = "attraction by chords", problem.n
    if problem.driven:
        return Failure(name, "an input that changes moves the equilibrium")
    centre, window = data["centre"], float(data["window"])
    if centre.shape != (n,) or not bool(torch.isfinite(centre).all()) or not 0 < window < 1:
        return Failure(name, "the centre is no state")
    about = reference(problem, centre)
    sectors = _about(problem, about, window)
    gain = verified_gain(problem.network, sectors, n, data)
    if gain is None or gain.rate >= 1:
        return Failure(name, "the rate does not hold")
    error = gain.size(about.error)
    radius = error / (1 - gain.rate) * (1 + _ROOM) + TINY
    start = torch.zeros(problem.network.inputs, dtype=torch.float64)
    start[:n] = radius * gain.reach(n) * UP
    moved = spreads(problem.network, slope_sectors(problem.network).largest, start, about.shift)
    wide = [window * (1 + z.abs()) for z in about.preactivations]
    if not all(bool((m < w).all()) for m, w in zip(moved[:-1], wide, strict=True)):
        return Failure(name, "the centre is too far from an equilibrium")
    data = {"centre": centre, "window": window, **gain.data()}
    notes = (f"equilibrium within {at_most(radius)} of it",)
    return Proof(name, gain.rate, gain.norm, radius, 1 - gain.rate, data, notes)
