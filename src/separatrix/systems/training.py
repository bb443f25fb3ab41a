"""Training as a system: weights and optimizer memory, moved by one step of an optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.memory import parse_bytes, points_per_chunk
from separatrix.systems.batches import Batches
from separatrix.systems.loss_derivatives import METHODS, Product, in_transform
from separatrix.systems.training_setup import choose_derivatives, network_of, rule_of
from separatrix.systems.training_states import TrainingStates
from separatrix.systems.weights import WeightPlaces

_CHUNK_NUMBERS = 250_000
"""Numbers of the tangents of as many members as go through the blocks together: they stay in a core's cache."""


class Training(TrainingStates):
    r"""The training of a network as a dynamical system; its state is the weights with the optimizer's memory.

    Parameters
    ----------
    model : nn.Module or callable
        A network, or a function without arguments that builds one. A network is copied as it is: its parameters that
        require gradients are trained, the others, its buffers and its mode stay. Dropout in train mode draws masks from
        ``mask_seed``, anew at each step.
    loss : callable
        Of (output, target), with one number as its value: ``torch.nn.functional.mse_loss``, a module, or
        ``sx.systems.half_squared_error``.
    data : (X, y) or list of (X, y)
        All rows, or batches, of which step t takes number t modulo their number. Floating-point numbers are brought to
        ``dtype``.
    optimizer : sx.optim.Optimizer or torch.optim.Optimizer
        One of ``sx.optim``; one of ``torch.optim`` is converted (:func:`separatrix.optim.from_torch`), and then its
        parameters, in their groups, are the ones that are trained.
    batch_size, shuffle_seed : int, optional
        Cut (X, y) into batches, in an order that is drawn for every epoch, the same as that of ``sx.ensembles.train``
        with this seed; in the order of the data without a seed. Every step can be replayed.
    repeat : bool
        False: go through a list of batches once; the system then has a horizon.
    first_step : int
        How many steps had been taken when the system's step 0 comes: for a state that was read from a training under
        way (:meth:`state_of`). Batches, schedules and Adam's corrections are then those of step t + ``first_step``.
    mask_seed : int
        Of whatever the network draws at random in its forward pass. All members get the same numbers.
    method : {"auto", "blocks", "vmap", "loop"}
        How derivatives of the loss are found: written out for networks of three layers (input, hidden, output) with a
        squared loss, all members at once by ``torch.vmap``, or one member after another. "auto" takes the first of
        these that does.
    dtype : torch.dtype
        Of the states, float64 unless another is asked for: exponents are sums over many small steps.
    memory : int, float or str
        Budget for what derivatives keep; members and tangents that do not fit are taken one after another.

    Attributes
    ----------
    method : str
        "blocks", "vmap" or "loop".
    optimizer : Optimizer
    parts : dict
        Slice of a state, or of a tangent, for "weights" and for each part of the memory.
    parameters : dict
        Slice of the weights for the name of each parameter.
    count : int
        P, the number of weights; a state has P times the number of parts.
    horizon : int or None
    dt, unit
        1 and "1/step".

    Raises
    ------
    ArgumentError
        If model, loss and data do not fit together, the network has batch statistics in train mode, the loss has no
        second derivatives, or the optimizer is not known. At a step: if the state is no tensor (\*batch, n) of the
        system's dtype, or t is beyond the horizon.

    Notes
    -----
    A state that is no longer finite stays so: an exploding run ends in NaN or infinity, and raises nothing. Members do
    not influence each other. The tangent of a step is M = dF/dx + dF/dg H, with F the optimizer's map and H the
    Hessian of the step's loss: one Hessian-vector product for each vector. Batches and masks belong to the step, so
    that products of tangents are taken along one realisation of the noise. At kinks (ReLU) derivatives are those of
    autograd. Norms of tangents mix weights with memory, which have different units; see ``parts``.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    >>> run = sx.Training(net, torch.nn.functional.mse_loss, (x, x**2), sx.optim.HeavyBall(lr=0.1, momentum=0.9))
    >>> state = run.initial_state(seed=0, members=100)
    >>> run.method, tuple(state.shape), tuple(run.step(state, 0).shape)
    ('blocks', (100, 26), (100, 26))
    """

    dt = 1.0
    unit = "1/step"

    def __init__(
        self,
        model: nn.Module | Callable[[], nn.Module],
        loss: Callable[[Any, Tensor], Tensor],
        data: Any,
        optimizer: Any,
        *,
        batch_size: SupportsIndex | None = None,
        shuffle_seed: SupportsIndex | None = None,
        repeat: bool = True,
        first_step: SupportsIndex = 0,
        mask_seed: SupportsIndex = 0,
        method: str = "auto",
        dtype: torch.dtype = torch.float64,
        memory: int | float | str = "2GB",
    ) -> None:
        if method not in ("auto", "blocks", *METHODS):
            raise ArgumentError("method", repr(method), 'choose from "auto", "blocks", "vmap", "loop"')
        if dtype not in (torch.float32, torch.float64):
            raise ArgumentError("dtype", repr(dtype), "give torch.float64 or torch.float32")
        if not callable(loss) or isinstance(loss, type):
            raise ArgumentError("loss", repr(loss), "give a function of (output, target), or an instance of a module")
        mask_seed, first_step = whole("mask_seed", mask_seed, 0), whole("first_step", first_step, 0)
        self.first_step = first_step
        self._budget = parse_bytes(memory)
        network = network_of(model)
        rule, trained = rule_of(optimizer, network)
        given = isinstance(model, nn.Module)
        # a copy: the caller may go on with the network
        network = copy.deepcopy(network) if given else network
        super().__init__(network, network if given else model, WeightPlaces(network, trained, dtype), rule)
        self._batches = Batches(data, batch_size, shuffle_seed, repeat, dtype, self._places.device)
        ends = [h for h in (self._batches.horizon, self.optimizer.horizon) if h is not None]
        self.horizon = None if not ends else min(ends) - first_step
        if self.horizon is not None and self.horizon < 1:
            raise ArgumentError("first_step", str(first_step), f"batches or learning rates end after {min(ends)} steps")
        self.loss_function = loss
        self._derivatives, self._autodiff = choose_derivatives(
            self._network, self._places, loss, self._batches, method, mask_seed, self._budget
        )
        self.method = self._derivatives.method

    def __repr__(self) -> str:
        return (
            f"Training({type(self._network).__name__} with {self.count} weights, {self.optimizer!r}, "
            f"method={self.method!r}, horizon={self.horizon})"
        )

    @property
    def per_epoch(self) -> int:
        """Number of steps after which all data have been seen; 1 for a full batch."""
        return self._batches.per_epoch

    def step(self, state: Float[Tensor, "*batch n"], t: int) -> Float[Tensor, "*batch n"]:
        """Take step t of training from states (*batch, n). See the class for the errors."""
        flat, t = self._flat(state, t), t + self.first_step

        def follow(part: Tensor) -> Tensor:
            return self.optimizer.step(part, self._gradient(part[:, : self.count], t), t)

        return torch.cat([follow(part) for part in self._in_chunks(flat, 0)]).reshape(state.shape)

    def tangent(
        self, state: Float[Tensor, "*batch n"], V: Float[Tensor, "k *batch n"], t: int
    ) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "k *batch n"]]:
        """Next states and M V for tangents (k, *batch, n); see :meth:`separatrix.systems.System.tangent`."""
        flat, t = self._flat(state, t), t + self.first_step
        vectors = self._along(V, state, "V", self.dim())
        following, pushed = torch.empty_like(flat), torch.empty_like(vectors)

        def push(rows: slice, part: Tensor, gradient: Tensor, product: Product) -> None:
            following[rows] = self.optimizer.step(part, gradient, t)
            pushed[:, rows] = self.optimizer.tangent(part, gradient, vectors[:, rows], product, t)

        self._linearise(flat, len(V), t, push)
        return following.reshape(state.shape), pushed.reshape(V.shape)

    def adjoint(
        self, state: Float[Tensor, "*batch n"], W: Float[Tensor, "k *batch n"], t: int
    ) -> Float[Tensor, "k *batch n"]:
        """M^T W for covectors (k, *batch, n) at the next state; see :func:`separatrix.systems.adjoint`."""
        flat, t = self._flat(state, t), t + self.first_step
        covectors = self._along(W, state, "W", self.dim())
        pulled = torch.empty_like(covectors)

        def pull(rows: slice, part: Tensor, gradient: Tensor, product: Product) -> None:
            pulled[:, rows] = self.optimizer.adjoint(part, gradient, covectors[:, rows], product, t)

        self._linearise(flat, len(W), t, pull)
        return pulled.reshape(W.shape)

    def loss(self, state: Float[Tensor, "*batch n"], t: int = 0) -> Float[Tensor, "*batch"]:
        """Loss of the batch of step t at the weights of states (*batch, n)."""
        flat, t = self._flat(state, t)[:, : self.count], t + self.first_step
        with torch.no_grad():
            found = [self._derivatives.losses(part, t) for part in self._in_chunks(flat, 0)]
        return torch.cat(found).reshape(state.shape[:-1])

    def gradient(self, state: Float[Tensor, "*batch n"], t: int = 0) -> Float[Tensor, "*batch p"]:
        """Gradient of the loss of step t by the weights."""
        flat, t = self._flat(state, t)[:, : self.count], t + self.first_step
        with torch.no_grad():
            found = [self._derivatives.gradient(part, t) for part in self._in_chunks(flat, 0)]
        return torch.cat(found).reshape(*state.shape[:-1], -1)

    def hessian_product(
        self, state: Float[Tensor, "*batch n"], V: Float[Tensor, "k *batch p"], t: int = 0
    ) -> Float[Tensor, "k *batch p"]:
        """H V, with H the Hessian of the loss of step t by the weights, for k vectors (k, *batch, P).

        Weight decay is not a part of it. Cost: one gradient and k Hessian-vector products.
        """
        flat, t = self._flat(state, t)[:, : self.count], t + self.first_step
        vectors = self._along(V, state, "V", self.count)
        found = torch.empty_like(vectors)

        def apply(rows: slice, part: Tensor, gradient: Tensor, product: Product) -> None:
            found[:, rows] = product(vectors[:, rows])

        self._linearise(flat, len(V), t, apply)
        return found.reshape(V.shape)

    def hessian(self, state: Float[Tensor, "*batch n"], t: int = 0) -> Float[Tensor, "*batch p p"]:
        """Dense Hessian of the loss of step t by the weights, (*batch, P, P)."""
        flat, t = self._flat(state, t)[:, : self.count], t + self.first_step
        with torch.no_grad():
            found = [self._derivatives.hessian(part, t, self._budget) for part in self._in_chunks(flat, self.count)]
        return torch.cat(found).reshape(*state.shape[:-1], self.count, self.count)

    def _gradient(self, theta: Tensor, t: int) -> Tensor:
        """Gradient of each member; blocks record no graph, so autograd steps in where one is asked for."""
        followed = in_transform() or (torch.is_grad_enabled() and theta.requires_grad)
        return (self._autodiff if followed else self._derivatives).gradient(theta, t)

    def _linearise(
        self, flat: Tensor, tangents: int, t: int, use: Callable[[slice, Tensor, Tensor, Product], None]
    ) -> None:
        """Hand over rows, states, gradients and Hessians as products, of as many members as go together."""
        at = 0
        with torch.no_grad():
            for part in self._in_chunks(flat, tangents):
                # nothing else holds the graph behind a product while the next one is made
                rows = slice(at, at + len(part))
                use(rows, part, *self._derivatives.linearise(part[:, : self.count], t, self._budget))
                at = rows.stop

    def _in_chunks(self, flat: Tensor, tangents: int) -> tuple:
        need = self._derivatives.bytes_per_member(tangents)
        members = points_per_chunk(need, self._budget, f"a network of {self.count} weights")
        if self.method == "blocks" and tangents:
            members = min(members, max(32, _CHUNK_NUMBERS // (tangents * flat.shape[-1])))
        return flat.split(members)
