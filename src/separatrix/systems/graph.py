"""Cuts and depth of a network, read off the graph that autograd recorded."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import Tensor

Node = Any
Edge = tuple[Node, int]


class DerivativeGraph:
    """The directed graph along which perturbations travel from an input to an output.

    Parameters
    ----------
    output : Tensor
        The end; it must require gradients.
    start : Node
        The autograd node (``grad_fn``) of the tensor that is perturbed.

    Notes
    -----
    A tensor is a *cut* when every path from the input to the output passes through it. Paths are counted exactly with
    integers: a tensor is a cut if and only if (paths to it) x (paths from it) equals the number of all paths. A branch
    that carries no derivative (``detach``, an argmax) is no path. Cost: linear in the number of operations.
    """

    def __init__(self, output: Tensor, start: Node) -> None:
        self._start = start
        self._order = _postorder(output.grad_fn)
        self._from_input: dict[Node, int] = {}
        for node in self._order:
            if node is start:
                self._from_input[node] = 1
            else:
                self._from_input[node] = sum(self._from_input.get(n, 0) for n, _ in _edges(node))
        root: Edge = (output.grad_fn, output.output_nr)
        into: Counter[Node] = Counter({root[0]: 1})
        self._to_output: Counter[Edge] = Counter({root: 1})
        for node in reversed(self._order):
            if into[node] and node is not start:
                for edge in _edges(node):
                    into[edge[0]] += into[node]
                    self._to_output[edge] += into[node]
        self.paths = self._from_input.get(output.grad_fn, 0)
        """Number of paths from the input to the output; 0 when the output does not depend on the input."""
        on_the_way = [node for node in self._order if self._from_input.get(node, 0) and into[node]]
        self.lost = any(node.name().endswith("WarnNotImplemented") for node in on_the_way)
        """Whether a path leads through an operation without a derivative, which autograd takes for zero."""

    def is_cut(self, edge: Edge | None) -> bool:
        """Whether all paths pass through a tensor, given as its ``(grad_fn, output_nr)``."""
        if edge is None or not self.paths:
            return False
        return self._from_input.get(edge[0], 0) * self._to_output[edge] == self.paths

    def depths(self, weight_nodes: set[Node]) -> dict[Node, int]:
        """Largest number of weight layers on any path from the input up to and including each node."""
        depth: dict[Node, int] = {}
        for node in self._order:
            if self._from_input.get(node, 0):
                below = [depth[n] for n, _ in _edges(node) if n in depth] if node is not self._start else []
                depth[node] = max(below, default=0) + (node in weight_nodes and node is not self._start)
        return depth


def edge_of(value: Tensor) -> Edge | None:
    """The graph position of a tensor, or None when it carries no derivative."""
    return None if value.grad_fn is None else (value.grad_fn, value.output_nr)


def _edges(node: Node) -> list[Edge]:
    return [(n, nr) for n, nr in node.next_functions if n is not None]


def _postorder(root: Node) -> list[Node]:
    """Nodes below ``root``, each after everything it was computed from; iterative, for deep networks."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node is not None and node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((n, False) for n, _ in _edges(node) if n not in seen)
    return order
