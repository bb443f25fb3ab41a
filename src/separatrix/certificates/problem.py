"""What a proof is asked of, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.systems.curves import curve
from separatrix.systems.lure import Block, Lure

Corners = tuple[Float[Tensor, " _"], Float[Tensor, " _"]]


@dataclass(frozen=True)
class Problem:
    """A map x+ = f(x, u) in Lur'e form, in float64 on the CPU, and where something is to be proved of it.

    Attributes
    ----------
    network : Lure
        Takes [x, u] (B, n + m) and gives (B, n), or for Lipschitz bounds any number of outputs.
    n, m : int
        Components of the state and of the input.
    box : (lo, hi) of Tensor (n,), or None
        Where x is; None for all of space.
    u_box : (lo, hi) of Tensor (m,)
        Where u is, at every step anew.
    """

    network: Lure
    n: int
    m: int
    box: Corners | None
    u_box: Corners

    @property
    def driven(self) -> bool:
        """Whether the input may change from step to step."""
        return bool(self.m) and bool((self.u_box[0] != self.u_box[1]).any())


@dataclass(frozen=True)
class Proof:
    """What one method has shown.

    Attributes
    ----------
    method : str
        Name of the method, a key of :data:`separatrix.certificates.methods.VERIFIERS`.
    rate : float or None
        Factor per step, below 1.
    norm : str
        In which norm, in words: "1", "2", "inf", "weighted inf", "P".
    bound : float or None
        Lipschitz constant, or radius of the ball that is entered.
    margin : float
        By how much what had to hold does: for rates 1 - rate.
    data : dict
        Tensors, numbers and text from which the method's ``verify`` shows the same again, without a search.
    notes : tuple of str
        Assumptions beyond those of every proof.
    """

    method: str
    rate: float | None = None
    norm: str = ""
    bound: float | None = None
    margin: float = 0.0
    data: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a method proves nothing: in words, and what the user can do."""

    method: str
    reason: str
    advice: str = ""


def with_constant_input(problem: Problem, u: Tensor | None = None) -> Lure:
    """The map x+ = f(x, u), for u (m,) in the middle of its box, without rounding: u is the value of a block."""
    network, n = problem.network, problem.n
    if not problem.m:
        return network
    if u is None:
        lo, hi = problem.u_box
        u = torch.minimum(torch.maximum((lo / 2 + hi / 2).nan_to_num(0.0, 0.0, 0.0), lo), hi)
    blocks = [Block("input", {}, u, curve(torch.nn.Identity()))]
    for block in network.blocks:
        weights = {source + 1: w for source, w in block.weights.items() if source}
        if 0 in block.weights:
            of_both = block.weights[0]
            weights = {0: of_both[:, :n].contiguous(), 1: of_both[:, n:].contiguous()} | weights
        blocks.append(Block(block.label, weights, block.bias, block.curve))
    return Lure(tuple(blocks), (n,), network.output_shape)
