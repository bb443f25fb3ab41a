"""A plan carried out: chunk by chunk, on every core, and again in float64 where the first pass was not enough."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

import torch
from torch import Tensor

from separatrix.results.errors import SeparatrixWarning
from separatrix.systems.listing import prepare
from separatrix.tangent.field import Field
from separatrix.tangent.inputs import Plane, Points
from separatrix.tangent.kinks import on_kink
from separatrix.tangent.plan import Plan, Problem, plan


def compute(
    problem: Problem, route: Plan, may_change: bool, where: Plane | Points, field: Field, advance: Callable[[int], None]
) -> Plan:
    """Fill a field; where ``may_change``, a route that the model does not allow gives way to the next.

    Returns
    -------
    Plan
        The one that was carried out.
    """
    if route.workers > 1 and len(where) > route.chunk:
        _on_all_cores(problem, route, where, field, advance)
        return route
    kinked = not route.method.startswith("chain") and problem.seen.trace.kinked
    begin = 0
    while begin < len(where):
        end = min(begin + route.chunk, len(where))
        x = prepare(problem.guest, where.points(begin, end))
        try:
            _store(problem, route, x, slice(begin, end), field, kinked)
        except (RuntimeError, NotImplementedError) as error:
            other = {"forward": "reverse", "reverse": "loop"}.get(route.method)
            if not may_change or other is None or isinstance(error, torch.OutOfMemoryError):
                raise
            route = plan(problem, other)
            if other == "loop":
                reason = str(error).splitlines()[0]
                warnings.warn(f"one point at a time, which is slow: {reason}", SeparatrixWarning, stacklevel=3)
            continue
        advance(end - begin)
        begin = end
    return route


def _on_all_cores(
    problem: Problem, route: Plan, where: Plane | Points, field: Field, advance: Callable[[int], None]
) -> None:
    """A chunk per core instead of all cores on every small operation, which would mostly wait for one another."""

    def work(begin: int) -> int:
        end = min(begin + route.chunk, len(where))
        _store(problem, route, prepare(problem.guest, where.points(begin, end)), slice(begin, end), field, False)
        return end - begin

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(route.workers)
    try:
        for done in as_completed([pool.submit(work, begin) for begin in range(0, len(where), route.chunk)]):
            advance(done.result())
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _store(problem: Problem, route: Plan, x: Tensor, where: slice | Tensor, field: Field, kinked: bool) -> None:
    moving = not problem.seen.trace.foreign
    met: dict[str, Tensor] = on_kink(problem.guest, x, problem.labels, moving) if kinked else {}
    for found in route.run(x):
        nonsmooth = met.get(problem.labels[found.place], found.nonsmooth)
        field.put(where, found._replace(nonsmooth=nonsmooth), route.floor)


def repair(problem: Problem, used: Plan, where: Plane | Points, field: Field) -> int:
    """Compute points again in float64 whose smaller singular values drowned in rounding, or overflowed."""
    lost = field.classify()
    graded = used.method in ("chain-forward", "chain-reverse")
    if not len(lost) or (problem.guest.dtype == torch.float64 and not graded) or used.method == "loop":
        return 0
    try:
        double = problem.in_double(prepare(problem.guest, where.at(lost[:2])))
        route = plan(double, "chain-graded" if graded else used.method)
        kinked = not graded and problem.seen.trace.kinked
        for part in lost.split(route.chunk):
            _store(double, route, prepare(double.guest, where.at(part)), part, field, kinked)
    except (RuntimeError, TypeError) as error:
        if graded:
            raise
        warnings.warn(f"float64 was not possible ({error}); see the status", SeparatrixWarning, stacklevel=4)
        return 0
    field.classify()
    return len(lost)
