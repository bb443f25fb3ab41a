"""Training as a system: weights and optimizer memory, moved by one step of an optimizer."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes, points_per_chunk
from separatrix.systems.batches import Batches
from separatrix.systems.initial_weights import fresh
from separatrix.systems.loss_derivatives import METHODS, in_transform
from separatrix.systems.optim.convert import from_torch, memory_of
from separatrix.systems.protocol import System
from separatrix.systems.training_setup import choose_derivatives, network_of, rule_of
from separatrix.systems.weights import WeightPlaces

_CHUNK_NUMBERS = 250_000
"""Numbers of the tangents of as many members as go through the blocks together: they stay in a core's cache."""


class Training(System):
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
        batch_size: int | None = None,
        shuffle_seed: int | None = None,
        repeat: bool = True,
        first_step: int = 0,
        mask_seed: int = 0,
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
        if isinstance(mask_seed, bool) or not isinstance(mask_seed, int) or mask_seed < 0:
            raise ArgumentError("mask_seed", repr(mask_seed), "give an integer of at least 0")
        if isinstance(first_step, bool) or not isinstance(first_step, int) or first_step < 0:
            raise ArgumentError("first_step", repr(first_step), "give an integer of at least 0")
        self.first_step = first_step
        self._budget = parse_bytes(memory)
        network = network_of(model)
        self.optimizer, trained = rule_of(optimizer, network)
        # a copy: the caller may go on with the network
        self._network: nn.Module = copy.deepcopy(network) if isinstance(model, nn.Module) else network
        self._source: Any = self._network if isinstance(model, nn.Module) else model
        self._places = WeightPlaces(self._network, trained, dtype)
        self._batches = Batches(data, batch_size, shuffle_seed, repeat, dtype, self._places.device)
        ends = [h for h in (self._batches.horizon, self.optimizer.horizon) if h is not None]
        self.horizon = None if not ends else min(ends) - first_step
        if self.horizon is not None and self.horizon < 1:
            raise ArgumentError("first_step", str(first_step), f"batches or learning rates end after {min(ends)} steps")
        self.count, self.parameters = self._places.count, self._places.slices
        self.parts = {name: slice(i * self.count, (i + 1) * self.count) for i, name in enumerate(self.optimizer.parts)}
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

    def dim(self, t: int = 0) -> int:
        """Return the number of components of a state, the same at all t."""
        return self.count * len(self.parts)

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
        following, pushed, at = torch.empty_like(flat), torch.empty_like(vectors), 0
        with torch.no_grad():
            for part in self._in_chunks(flat, len(V)):
                rows = slice(at, at + len(part))
                gradient, product = self._derivatives.linearise(part[:, : self.count], t, self._budget)
                following[rows] = self.optimizer.step(part, gradient, t)
                pushed[:, rows] = self.optimizer.tangent(part, gradient, vectors[:, rows], product, t)
                at = rows.stop
        return following.reshape(state.shape), pushed.reshape(V.shape)

    def adjoint(
        self, state: Float[Tensor, "*batch n"], W: Float[Tensor, "k *batch n"], t: int
    ) -> Float[Tensor, "k *batch n"]:
        """M^T W for covectors (k, *batch, n) at the next state; see :func:`separatrix.systems.adjoint`."""
        flat, t = self._flat(state, t), t + self.first_step
        covectors = self._along(W, state, "W", self.dim())
        pulled, at = torch.empty_like(covectors), 0
        with torch.no_grad():
            for part in self._in_chunks(flat, len(W)):
                rows = slice(at, at + len(part))
                gradient, product = self._derivatives.linearise(part[:, : self.count], t, self._budget)
                pulled[:, rows] = self.optimizer.adjoint(part, gradient, covectors[:, rows], product, t)
                at = rows.stop
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
        found, at = torch.empty_like(vectors), 0
        with torch.no_grad():
            for part in self._in_chunks(flat, len(V)):
                rows = slice(at, at + len(part))
                found[:, rows] = self._derivatives.linearise(part, t, self._budget)[1](vectors[:, rows])
                at = rows.stop
        return found.reshape(V.shape)

    def hessian(self, state: Float[Tensor, "*batch n"], t: int = 0) -> Float[Tensor, "*batch p p"]:
        """Dense Hessian of the loss of step t by the weights, (*batch, P, P)."""
        flat, t = self._flat(state, t)[:, : self.count], t + self.first_step
        with torch.no_grad():
            found = [self._derivatives.hessian(part, t, self._budget) for part in self._in_chunks(flat, self.count)]
        return torch.cat(found).reshape(*state.shape[:-1], self.count, self.count)

    def initial_state(
        self, seed: int | Iterable[int] = 0, members: int = 1, *, initialise: Any = "torch"
    ) -> Float[Tensor, "members n"]:
        """States with fresh weights and an empty memory, (members, n).

        Parameters
        ----------
        seed : int or iterable of int
            Member i has seed + i; or one seed for each member. A member depends on its own seed alone: its network is
            that of ``sx.ensembles.make_members`` with this seed.
        members : int
            How many, where ``seed`` is one number.
        initialise : {"torch"} or callable
            The parts' own ``reset_parameters`` (the factory's own weights, if the model was given as a function), or a
            function that changes a network in place: ``sx.ensembles.glorot``, ``sx.ensembles.gaussian``.

        Raises
        ------
        ArgumentError
            If a part of the network cannot draw its weights anew, or seeds and members are no such numbers.
        """
        if isinstance(seed, int) and not isinstance(seed, bool):
            if isinstance(members, bool) or not isinstance(members, int) or members < 1:
                raise ArgumentError("members", repr(members), "give a positive integer")
            seeds: Sequence[int] = range(seed, seed + members)
        else:
            seeds = [int(s) for s in seed] if isinstance(seed, Iterable) and not isinstance(seed, str) else []
            if not seeds:
                raise ArgumentError("seed", repr(seed), "give an integer, or a list with at least one")
        weights = [self._places.vector(fresh(self._source, s, initialise)) for s in seeds]
        return self.optimizer.start(torch.stack(weights))

    def state_of(self, model: Any = None, optimizer: Any = None) -> Float[Tensor, "members n"]:
        """State with the present weights of a network, or of several: (members, n).

        Parameters
        ----------
        model : nn.Module or sequence of nn.Module, optional
            Of the system's architecture; a ``Stack`` counts as its members. The network that the system was made of,
            as it was then, when left out.
        optimizer : torch.optim.Optimizer, optional
            With one model: its memory becomes the state's, otherwise that is empty. The next step is then the number of
            steps that it has taken, which counts for Adam's corrections and for schedules: pass that as ``t``, or, for
            what begins at t = 0 as ``sx.lyapunov`` does, make the system with it as ``first_step``.

        Raises
        ------
        ArgumentError
            If a network has another architecture, an optimizer comes with several or is not that of the network, or it
            remembers something else than the system's.
        """
        if model is None:
            model = self._network
        single = isinstance(model, nn.Module) and not hasattr(model, "members")
        networks = [model] if single else list(model)
        weights = torch.stack([self._places.vector(network) for network in networks])
        state = self.optimizer.start(weights)
        if optimizer is None:
            return state
        if not single:
            raise ArgumentError("optimizer", "an optimizer beside several networks", "read them one by one")
        named = dict(networks[0].named_parameters())
        held = {id(p) for group in optimizer.param_groups for p in group["params"]} if _is_torch(optimizer) else set()
        if not all(id(named[name]) in held for name in self.parameters):
            remedy = "give the torch.optim optimizer that trains this network, and the network (model=) with it"
            raise ArgumentError("optimizer", "one that does not hold the network's parameters", remedy)
        own = from_torch(optimizer, lr=0.0).parts
        if own != self.optimizer.parts:
            got = f"{type(optimizer).__name__}, which keeps {', '.join(own)}"
            raise ArgumentError("optimizer", got, f"the system's keeps {', '.join(self.optimizer.parts)}")
        for part, place in self.parts.items():
            for name, inner in self.parameters.items() if part != "weights" else ():
                kept = memory_of(optimizer, named[name], part)
                if kept is not None:
                    state[:, place][:, inner] = kept.detach().flatten().to(state)
        return state

    def weights(self, state: Float[Tensor, "*batch n"]) -> dict[str, Tensor]:
        """Trained parameters by name, (*batch, *shape); views of the states, or of tangents."""
        return self._places.named(state[..., : self.count])

    def modules(self, state: Float[Tensor, "*batch n"]) -> list[nn.Module]:
        """One ordinary network for each state, in the states' dtype; ``sx.ensembles.Stack`` makes one of them all."""
        return [self._places.module(self._network, row) for row in state.reshape(-1, self.dim())[:, : self.count]]

    def labels(self) -> list[str]:
        """What each component of a state is, such as "weights 0.weight[2, 1]" and "momentum 0.bias[3]"."""
        names = self._places.labels()
        return [f"{part} {name}" for part in self.parts for name in names]

    def _gradient(self, theta: Tensor, t: int) -> Tensor:
        """Gradient of each member; blocks record no graph, so autograd steps in where one is asked for."""
        followed = in_transform() or (torch.is_grad_enabled() and theta.requires_grad)
        return (self._autodiff if followed else self._derivatives).gradient(theta, t)

    def _in_chunks(self, flat: Tensor, tangents: int) -> tuple:
        need = self._derivatives.bytes_per_member(tangents)
        members = points_per_chunk(need, self._budget, f"a network of {self.count} weights")
        if self.method == "blocks" and tangents:
            members = min(members, max(32, _CHUNK_NUMBERS // (tangents * flat.shape[-1])))
        return flat.split(members)

    def _flat(self, state: Any, t: int) -> Tensor:
        """Check states, and bring them to (members, n)."""
        remedy = f"give states (*batch, {self.dim()}), for example of initial_state()"
        if not isinstance(state, Tensor):
            raise ArgumentError("state", type(state).__name__, remedy)
        if state.ndim == 0 or state.shape[-1] != self.dim() or state.numel() == 0:
            parts = " + ".join(f"{self.count} of {name}" for name in self.parts)
            raise ArgumentError("state", f"shape {tuple(state.shape)}", f"{remedy}: {parts}")
        if state.dtype != self._places.dtype:
            raise ArgumentError("state", str(state.dtype), f"the system computes in {self._places.dtype}: convert it")
        if t < 0 or (self.horizon is not None and t >= self.horizon):
            end = "on" if self.horizon is None else f"to {self.horizon - 1}"
            raise ArgumentError("t", str(t), f"this system has steps 0 {end}")
        if state.is_inference():
            with torch.inference_mode(False):
                state = state.clone()
        return state.reshape(-1, self.dim())

    def _along(self, V: Any, state: Tensor, argument: str, size: int) -> Tensor:
        """Check vectors, and bring them to (k, members, size)."""
        shape = (*state.shape[:-1], size)
        if not isinstance(V, Tensor) or V.ndim != len(shape) + 1 or V.shape[1:] != shape:
            got = f"shape {tuple(V.shape)}" if isinstance(V, Tensor) else type(V).__name__
            raise ArgumentError(argument, got, f"give (k, {', '.join(map(str, shape))})")
        if V.dtype != state.dtype:
            raise ArgumentError(argument, str(V.dtype), f"give {state.dtype}, the dtype of the state")
        return V.detach().reshape(len(V), math.prod(shape[:-1]), size)


def _is_torch(optimizer: Any) -> bool:
    return isinstance(optimizer, torch.optim.Optimizer)
