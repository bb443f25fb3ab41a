"""The states of a training: weights with an optimizer's memory; how they begin, and what they hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import integer, whole
from separatrix.systems.initial_weights import fresh
from separatrix.systems.optim.convert import from_torch, memory_of
from separatrix.systems.optim.rule import Optimizer
from separatrix.systems.protocol import System
from separatrix.systems.weights import WeightPlaces


class TrainingStates(System):
    """A system whose states, (*batch, n), are the weights of a network followed by each part of an optimizer's memory.

    Parameters
    ----------
    network : nn.Module
        The network that is trained; it is not changed.
    source : nn.Module or callable
        What draws fresh weights: the network, or the function that builds it.
    places : WeightPlaces
        Where each weight is.
    optimizer : Optimizer

    Attributes
    ----------
    optimizer : Optimizer
    parts : dict
        Slice of a state, or of a tangent, for "weights" and for each part of the memory.
    parameters : dict
        Slice of the weights for the name of each parameter.
    count : int
        P, the number of weights.
    """

    def __init__(self, network: nn.Module, source: Any, places: WeightPlaces, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._network, self._source, self._places = network, source, places
        self.count, self.parameters = places.count, places.slices
        self.parts = {name: slice(i * self.count, (i + 1) * self.count) for i, name in enumerate(optimizer.parts)}

    def dim(self, t: int = 0) -> int:
        """Return the number of components of a state, the same at all t."""
        return self.count * len(self.parts)

    def initial_state(
        self, seed: SupportsIndex | Iterable[int] = 0, members: SupportsIndex = 1, *, initialise: Any = "torch"
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
        first = integer(seed)
        if first is not None:
            seeds: Sequence[int] = range(first, first + whole("members", members, 1))
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
