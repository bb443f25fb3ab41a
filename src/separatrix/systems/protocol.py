"""What a system is: a state, a step, and the exact derivative of the step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol, runtime_checkable

from torch import Tensor

from separatrix.systems.derivatives import default_adjoint, default_tangent

__all__ = ["System", "adjoint", "default_adjoint", "default_tangent"]


@runtime_checkable
class System(Protocol):
    """The protocol of everything that moves. A class that has these four members is a system, derived from it or not.

    A state is one floating-point tensor ``(*batch, n_t)``, whose members are independent of each other; a system packs
    weights with optimizer memory, or (h, c), itself. Tangents are ``(k, *batch, n_t)``. Time t is a Python int from 0.
    A step leaves its arguments as they are and is a function of state and t alone: it draws no global random numbers.

    A derived class gives ``step`` and ``dim``, and gets ``tangent``. Two more members are optional, in any class:
    ``adjoint(state, W, t)`` (the function :func:`adjoint` falls back on autograd), and ``dt`` with ``unit`` (how long a
    step takes and the unit of an exponent; 1 and ``"1/step"`` where they are missing).

    Attributes
    ----------
    horizon : int or None
        The number of steps the system can take: ``step`` serves t = 0 .. horizon - 1, ``dim`` t = 0 .. horizon. None
        where there is no end.

    See Also
    --------
    separatrix.testing.check_system : verifies any implementation.
    """

    horizon: int | None = None

    @abstractmethod
    def dim(self, t: int) -> int:
        """Return the number of components of the state before step t."""
        raise NotImplementedError

    @abstractmethod
    def step(self, state: Tensor, t: int) -> Tensor:
        """Carry states (*batch, dim(t)) to (*batch, dim(t + 1))."""
        raise NotImplementedError

    def tangent(self, state: Tensor, V: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Next state and M V, where M is the derivative of step t at the state.

        Parameters
        ----------
        state : Tensor, shape (*batch, dim(t))
            Left as it is, and so is V.
        V : Tensor, shape (k, *batch, dim(t))
            Any k tangents; they need not be orthonormal.
        t : int
            Number of the step.

        Returns
        -------
        next_state : Tensor, shape (*batch, dim(t + 1))
        MV : Tensor, shape (k, *batch, dim(t + 1))

        Raises
        ------
        ArgumentError
            If V does not fit the state, or the step cannot be differentiated.

        Notes
        -----
        This default costs (1 + k) steps; see :func:`separatrix.systems.derivatives.default_tangent`.
        """
        return default_tangent(lambda x: self.step(x, t), state, V, owner=self, stage=_stage(self, t))


def adjoint(system: System, state: Tensor, W: Tensor, t: int) -> Tensor:
    """Apply the transpose of a step's derivative, by the system's own ``adjoint`` if it has one, by autograd otherwise.

    Parameters
    ----------
    system : System
        Any object with the members of the protocol.
    state : Tensor, shape (*batch, dim(t))
        Where the derivative is taken.
    W : Tensor, shape (k, *batch, dim(t + 1))
        Covectors at the next state.
    t : int
        Number of the step.

    Returns
    -------
    Tensor, shape (k, *batch, dim(t))
        M^T W, so that <W, M V> = <M^T W, V> for every V.

    Raises
    ------
    ArgumentError
        If W does not fit, or if autograd cannot differentiate the step or contradicts the system's tangent.

    Notes
    -----
    Cost by autograd: one step and k reverse passes; at a system's first call a tangent step more, to compare.
    """
    own = getattr(system, "adjoint", None)
    if callable(own):
        return own(state, W, t)
    return default_adjoint(
        lambda x: system.step(x, t),
        state,
        W,
        tangent=lambda V: system.tangent(state, V, t),
        owner=system,
        stage=_stage(system, t),
    )


def _stage(system: System, t: int) -> int:
    """Tell the steps of a system with a horizon apart (layers); without one they are taken for one function."""
    return t if system.horizon is not None else 0
