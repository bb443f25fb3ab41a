"""How many exponents, from which end, by which means, and whether they fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import integer
from separatrix.tangent.orbits import Orbits

if TYPE_CHECKING:
    from separatrix.tangent.exponent_windows import Windows

DENSE = 2000
"""Components up to which all exponents are computed to get at the smallest ones."""


class Choice(NamedTuple):
    """What to carry and what to keep of it.

    Attributes
    ----------
    wanted : int
        Exponents asked for.
    carried : int
        Directions that are carried.
    n : int
        Components of a state, and so exponents there are.
    smallest : bool
        Whether those at the end of the spectrum are kept.
    pairing : float or None
        Sum of an exponent and its partner, per step, if the smallest are to come from the largest.
    """

    wanted: int
    carried: int
    n: int
    smallest: bool
    pairing: float | None

    @property
    def first_index(self) -> int:
        """Number of the first index that is kept, counted from 1."""
        return self.n - self.wanted + 1 if self.smallest else 1


def how_many(k: Any, n: int) -> int:
    """Read k, a whole number from 1 to n or "all"."""
    if isinstance(k, str) and k == "all":
        return n
    count = integer(k)
    if count is None or not 1 <= count <= n:
        raise ArgumentError("k", repr(k), f'the state has {n} components: give 1 to {n}, or "all"')
    return count


def choose(
    orbits: Orbits, states: Tensor, k: Any, which: str, form: str, seeds: int, spans: Windows, budget: int
) -> Choice:
    """Settle on what is carried.

    Raises
    ------
    ArgumentError
        If k or ``which`` cannot be used, the memory does not suffice, or the smallest exponents are out of reach.
    """
    if which not in ("largest", "smallest"):
        raise ArgumentError("which", repr(which), "choose 'largest' or 'smallest'")
    members, n = states.shape
    count = how_many(k, n)
    full = form == "svd"

    def need(carried: int) -> int:
        return _bytes(members, n, carried, count, seeds, spans, full)

    if which == "largest":
        carried = n if full else count
        _fits(need(carried), budget, form)
        return Choice(count, carried, n, False, None)
    if n <= DENSE and need(n) <= budget:
        return Choice(count, n, n, True, None)
    pairing = _pairing(orbits.system)
    if pairing is None:
        raise ArgumentError(
            "which",
            f"'smallest' for {n:,} components, all of which would have to be carried ({need(n):,} bytes)",
            f"that is done up to {DENSE:,} components within memory=; the most contracting directions of gradient "
            "descent are those of largest curvature, so sx.sharpness (the largest Hessian eigenvalue) is a surrogate: "
            "ln|1 - lr * sharpness| per step",
        )
    if 2 * count > n:
        raise ArgumentError("k", repr(k), f"pairing gives the smallest {n // 2} from the largest; give at most that")
    _fits(need(n if full else count), budget, form)
    return Choice(count, n if full else count, n, True, pairing)


def _pairing(system: Any) -> float | None:
    """Sum per step of an exponent and its partner from the other end, if the system or its optimizer has one."""
    own = getattr(system, "pairing", None)
    found = getattr(getattr(system, "optimizer", None), "pair_sum", None) if own is None else own
    found = found() if callable(found) else found
    return None if found is None else float(found)


def _bytes(members: int, n: int, carried: int, count: int, seeds: int, spans: Windows, full: bool) -> int:
    frame = 8 * members * n * carried * seeds
    history = 8 * members * len(spans.times) * carried * (4 * seeds + 3)
    if full:
        products = 1 if spans.window is None else 1 + spans.window // spans.every
        return (6 + 3 * products) * frame + history
    return 8 * frame + history


def _fits(need: int, budget: int, form: str) -> None:
    if need > budget:
        remedy = f'this run holds about {need:,} bytes: give memory="{-(-need // 10**6)}MB", fewer members'
        more = ", a larger every" + (", a smaller k" if form == "qr" else ', or form="qr" with a small k')
        raise ArgumentError("memory", f"a budget of {budget:,} bytes", remedy + more)
