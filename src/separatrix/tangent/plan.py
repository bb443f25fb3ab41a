"""Which route computes a field, and in pieces of which size."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from separatrix.ensembles.stack import Stack
from separatrix.results.errors import ArgumentError
from separatrix.results.memory import points_per_chunk
from separatrix.systems.guest import Guest
from separatrix.systems.listing import Anatomy, Layer, anatomy
from separatrix.tangent.chain import Affine, PlainChain, plain_chain
from separatrix.tangent.chain_routes import LayerSpectrum, backward_rows, enter, forward_columns
from separatrix.tangent.graded_route import graded
from separatrix.tangent.lanczos_route import Need, leading_few, pays
from separatrix.tangent.routes import Task, bytes_per_point, forward_mode, reverse_mode, sample_loop
from separatrix.tangent.spectrum import Wanted
from separatrix.tangent.workspace import Workspace

METHODS = ("chain-forward", "chain-reverse", "chain-graded", "forward", "reverse", "loop", "lanczos")

# columns of numbers that stay in a core's cache while a layer is worked on; measured on widths 10 to 200
_CACHE_NUMBERS = 800_000


def numel(shape: tuple[int, ...]) -> int:
    """Number of components of a value of this shape; 1 for a scalar."""
    return math.prod(shape)


Route = Callable[[Tensor], Iterator[LayerSpectrum]]
StackRoute = Callable[[Tensor, slice | Tensor], Iterator[LayerSpectrum]]


@dataclass(frozen=True)
class Plan:
    """One way to compute the spectra of all chosen layers for a chunk of points."""

    method: str
    run: Route
    chunk: int
    floor: float
    """Relative size below which a singular value is rounding; 0 where every one is resolved."""
    workers: int = 1
    """How many chunks may be computed side by side."""
    of_members: StackRoute | None = None
    """As ``run``, for chosen members at once: points (members or 1, points, *input shape), and which members these are.
    A chunk then counts pairs of a member and a point. None where members are computed one after another."""


@dataclass(frozen=True)
class Problem:
    """A model with chosen layers, analysed; for a stack of models, ``guest`` and ``seen`` are of its first member."""

    guest: Guest
    seen: Anatomy
    chosen: list[Layer]
    scale: Tensor
    wanted: Wanted
    budget: int
    stack: Stack | None = None

    @property
    def members(self) -> int:
        """How many networks these are."""
        return 1 if self.stack is None else len(self.stack)

    def of_each(self, places: Iterable[int] | None = None) -> Iterator[tuple[int, Problem]]:
        """Members (all, or those at ``places``), each as a problem of its own.

        Be done with one before the next is taken: see :meth:`separatrix.ensembles.Stack.in_turn`.
        """
        if self.stack is None:
            yield 0, self
            return
        chosen = list(range(self.members) if places is None else places)
        like = self.guest
        for place, network in zip(chosen, self.stack.in_turn(chosen), strict=True):
            guest = Guest(network, output=like.output, start=like.start, dtype=like.dtype)
            yield place, replace(self, guest=guest, stack=None)

    @property
    def labels(self) -> list[str]:
        """Labels of the chosen layers."""
        return [layer.label for layer in self.chosen]

    @property
    def widths(self) -> list[int]:
        """Components of the chosen layers."""
        return [numel(layer.shape) for layer in self.chosen]

    @property
    def ranks(self) -> list[int]:
        """Largest rank that each chosen layer's Jacobian can have: for cuts, the narrowest cut on the way.

        Nothing is said of a layer beside the path, which a bottleneck executed earlier need not lie in front of.
        """
        order = {layer.label: i for i, layer in enumerate(self.seen.listing)} | {"output": len(self.seen.listing)}
        found = []
        for layer, width in zip(self.chosen, self.widths, strict=True):
            before = self.seen.listing[: order[layer.label]] if layer.cut else []
            cuts = [numel(r.shape) for r in before if r.cut and self.seen.is_batch_first(r.label)]
            found.append(min([len(self.scale), width, *cuts]))
        return found

    def in_double(self, x: Tensor) -> Problem:
        """The same problem in float64."""
        guest = self.guest.in_double()
        return replace(
            self,
            guest=guest,
            seen=anatomy(guest, x.double() if x.is_floating_point() else x),
            scale=self.scale.double(),
        )


def plan(problem: Problem, method: str, *, coupled: bool = False) -> Plan:
    """Choose a route, or check the one that was asked for.

    Raises
    ------
    ArgumentError
        If the method is unknown or does not fit the model, or one point does not fit into the budget.
    """
    if method not in ("auto", *METHODS):
        raise ArgumentError("method", repr(method), f"choose one of {('auto', *METHODS)}")
    chain = None
    if not coupled and (method == "auto" or method.startswith("chain")):
        chain = plain_chain(problem.guest, problem.seen, problem.labels, problem.stack)
    if method.startswith("chain") and chain is None:
        raise ArgumentError(
            "method", repr(method), "the model is no plain chain of linear layers and activations; use 'auto'"
        )
    if method == "forward" and problem.seen.trace.foreign:
        raise ArgumentError(
            "method", "'forward'", "an operation from outside PyTorch would lose its tangent there; use 'reverse'"
        )
    if method == "lanczos" and (coupled or problem.seen.trace.branches):
        why = "points that influence one another" if coupled else "a forward pass that branches on values"
        raise ArgumentError("method", f"'lanczos', with {why}", "use method='loop'")
    if method != "auto":
        return _planned(problem, chain, method)
    method = _cheapest(problem, chain, coupled)
    few = problem.wanted.values if method != "loop" else 0
    dense = min(max(problem.ranks) if chain else len(problem.scale), sum(problem.widths))
    if few and pays(few, len(problem.chosen), dense):
        return _lanczos_plan(problem)
    try:
        return _planned(problem, chain, method)
    except ArgumentError:
        # what is too large for the budget as a matrix may still be multiplied
        if not few or 2 * few > max(problem.ranks):
            raise
        return _lanczos_plan(problem)


def _planned(problem: Problem, chain: PlainChain | None, method: str) -> Plan:
    if method == "lanczos":
        return _lanczos_plan(problem)
    return (
        _chain_plan(problem, chain, method) if method.startswith("chain") and chain else _module_plan(problem, method)
    )


def _cheapest(problem: Problem, chain: PlainChain | None, coupled: bool) -> str:
    inputs, outputs = len(problem.scale), sum(problem.widths)
    if coupled or problem.seen.trace.branches:
        return "loop"
    if chain is None:
        return "reverse" if outputs < inputs or problem.seen.trace.foreign else "forward"
    sizes = [step.weight[0].numel() if isinstance(step, Affine) else 0 for step in chain.steps]
    first = chain.steps[0]
    columns = min(inputs, first.weight.shape[1]) if isinstance(first, Affine) else inputs
    forward = (1 + columns) * sum(sizes[1:]) + sizes[0]
    backward = sum(sizes) + sum(width * sum(sizes[:end]) for width, end in zip(problem.widths, chain.ends, strict=True))
    return "chain-reverse" if backward < forward else "chain-forward"


def _floor(problem: Problem, layers: int) -> float:
    dtype = problem.scale.dtype
    return float(4 * torch.finfo(dtype).eps * max(1, layers) * max(problem.widths) ** 0.5)


def _chain_plan(problem: Problem, chain: PlainChain, method: str) -> Plan:
    if method == "chain-graded" and problem.scale.dtype != torch.float64:
        raise ArgumentError("method", repr(method), "it computes in float64: give a model in double precision")
    kernels: dict[str, Callable[..., Iterator[LayerSpectrum]]]
    kernels = {"chain-forward": forward_columns, "chain-reverse": backward_rows, "chain-graded": graded}
    entry = enter(chain, problem.scale)
    inputs = len(problem.scale)
    columns = entry.first.shape[2] if entry.first is not None else inputs
    if method == "chain-reverse":
        columns = max(problem.widths)
    widest = max([inputs if entry.first is None else 0, *chain.widths])
    numbers = widest * (1 + columns)
    stored = sum(chain.widths) if method == "chain-reverse" else 0
    item = problem.scale.element_size()
    need = (4 * numbers + 2 * stored + inputs) * item + 8 * widest * columns * (4 if method == "chain-graded" else 2)
    need += 24 * problem.wanted.vectors * (inputs + widest)
    if chain.members > 1:
        need += widest * columns * item
    chunk = points_per_chunk(need, problem.budget, "tangents of one layer")
    workers = 1
    if problem.scale.device.type == "cpu":
        workers = min(torch.get_num_threads(), chunk)
        chunk = min(chunk // workers, max(64, _CACHE_NUMBERS // numbers))
    floor = 0.0 if method == "chain-graded" else _floor(problem, chain.weight_layers)

    spaces = threading.local()

    def of_members(points: Tensor, members: slice | Tensor) -> Iterator[LayerSpectrum]:
        if not hasattr(spaces, "own"):
            spaces.own = Workspace(problem.scale)
        part, into, kernel = chain.of(members), entry.of(members), kernels[method]
        with torch.no_grad():
            yield from kernel(part, into, problem.scale, points.flatten(2), problem.wanted, spaces.own)

    return Plan(method, lambda points: of_members(points[None], slice(None)), chunk, floor, workers, of_members)


def _module_plan(problem: Problem, method: str) -> Plan:
    task = Task(problem.guest, problem.labels, problem.scale, problem.wanted)
    route = {"forward": forward_mode, "reverse": reverse_mode, "loop": sample_loop}[method]
    inputs = len(problem.scale)
    activations = _activations(problem)
    item = problem.scale.element_size()

    def need(directions: int) -> int:
        return bytes_per_point(
            activations, problem.widths, directions, inputs, item, method != "forward", problem.wanted.vectors
        )

    directions = inputs
    while directions > 1 and need(directions) > problem.budget:
        directions = -(-directions // 2)
    chunk = (
        1 if method == "loop" else points_per_chunk(need(directions), problem.budget, "Jacobians of the chosen layers")
    )
    if method != "loop" and problem.scale.device.type == "cpu":
        chunk = min(chunk, 4096)
    return Plan(method, lambda x: route(task, x, directions), chunk, _floor(problem, problem.seen.output_depth))


def _activations(problem: Problem) -> int:
    """Numbers in all values that the model computes for one point."""
    values = [c.value for c in problem.seen.trace.calls if c.value is not None]
    return sum(v[0].numel() for v in values if v.ndim) + problem.seen.output[0].numel() + len(problem.scale)


def _lanczos_plan(problem: Problem) -> Plan:
    task = Task(problem.guest, problem.labels, problem.scale, problem.wanted)
    count = max(problem.wanted.values or problem.wanted.vectors, 1)
    need = Need(_activations(problem), len(problem.scale), max(problem.widths), count, problem.scale.element_size())
    columns = need.columns(problem.budget)
    chunk = points_per_chunk(need.bytes(columns), problem.budget, "leading singular vectors")
    if problem.scale.device.type == "cpu":
        chunk = min(chunk, 256)
    floor = _floor(problem, problem.seen.output_depth)
    run = leading_few(task, problem.ranks, count, columns, floor, problem.seen.trace.foreign)
    return Plan("lanczos", run, chunk, floor)
