"""A plan carried out: chunk by chunk, on every core, and again in float64 where the first pass was not enough."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError, SeparatrixWarning
from separatrix.systems.listing import prepare
from separatrix.tangent.field import Field
from separatrix.tangent.inputs import Plane, Points
from separatrix.tangent.kinks import on_kink
from separatrix.tangent.plan import Plan, Problem, plan

# so many pairs more in a row cost less than another table of them
_FEW = 32


def compute(
    problem: Problem, route: Plan, may_change: bool, where: Plane | Points, field: Field, advance: Callable[[int], None]
) -> Plan:
    """Fill a field; where ``may_change``, a route that the model does not allow gives way to the next.

    Returns
    -------
    Plan
        The one that was carried out.
    """
    if problem.stack is None or route.of_members is not None:
        return _compute(problem, route, may_change, where, field, advance, 0)
    for member, alone in problem.of_each():
        route = plan(alone, route.method)
        route = _compute(alone, route, may_change, where, field, advance, member * len(where))
    return route


def _compute(
    problem: Problem,
    route: Plan,
    may_change: bool,
    where: Plane | Points,
    field: Field,
    advance: Callable[[int], None],
    first: int,
) -> Plan:
    """Fill a field from pair ``first`` on."""
    count, pairs = len(where), problem.members * len(where)
    if route.workers > 1 and pairs > route.chunk:
        _on_all_cores(problem, route, where, field, advance)
        return route
    kinked = not route.method.startswith("chain") and (problem.seen.trace.kinked or problem.seen.trace.clamped)
    begin = 0
    while begin < pairs:
        end = _end(begin, pairs, count, route.chunk)
        try:
            _fill(problem, route, where, begin, end, field, kinked, first)
        except (RuntimeError, NotImplementedError) as error:
            other = {"forward": "reverse", "reverse": "loop", "lanczos": "reverse"}.get(route.method)
            if not may_change and "forward AD" in str(error):
                why = f"{route.method!r}, which an operation has no rule for: {str(error).split('.')[0]}"
                raise ArgumentError("method", why, "use 'auto' or 'reverse'") from error
            if not may_change or other is None or isinstance(error, torch.OutOfMemoryError):
                raise
            route = plan(problem, other)
            if other == "loop":
                reason = str(error).splitlines()[0]
                warnings.warn(f"one point at a time, which is slow: {reason}", SeparatrixWarning, stacklevel=4)
            continue
        advance(end - begin)
        begin = end
    return route


def _end(begin: int, pairs: int, count: int, chunk: int) -> int:
    """Where a chunk of pairs ends: it holds several whole members, or a part of one."""
    if chunk >= count and begin % count == 0:
        return min(pairs, begin + chunk // count * count)
    return min(begin + chunk, (begin // count + 1) * count)


def _fill(
    problem: Problem, route: Plan, where: Plane | Points, begin: int, end: int, field: Field, kinked: bool, first: int
) -> None:
    count = len(where)
    members = slice(begin // count, -(-end // count))
    one = members.stop - members.start == 1
    low, high = (begin - members.start * count, end - members.start * count) if one else (0, count)
    x = prepare(problem.guest, where.points(low, high))
    at = slice(first + begin, first + end)
    if route.of_members is None:
        _store(problem, route, x, at, field, kinked)
    else:
        for found in route.of_members(x[None], members):
            field.put(at, found, route.floor)


def _on_all_cores(
    problem: Problem, route: Plan, where: Plane | Points, field: Field, advance: Callable[[int], None]
) -> None:
    """A chunk per core instead of all cores on every small operation, which would mostly wait for one another."""
    count, pairs = len(where), problem.members * len(where)

    def chunks() -> Iterator[tuple[int, int]]:
        begin = 0
        while begin < pairs:
            end = _end(begin, pairs, count, route.chunk)
            yield begin, end
            begin = end

    def work(begin: int, end: int) -> int:
        _fill(problem, route, where, begin, end, field, False, 0)
        return end - begin

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(route.workers)
    try:
        for done in as_completed([pool.submit(work, *chunk) for chunk in chunks()]):
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
    """Compute pairs again in float64 whose smaller singular values drowned in rounding, or overflowed."""
    lost = field.classify()
    graded = used.method in ("chain-forward", "chain-reverse")
    if not len(lost) or (problem.guest.dtype == torch.float64 and not graded) or used.method == "loop":
        return 0
    again = _graded if graded else partial(_in_double, method=used.method)
    try:
        again(problem.in_double(prepare(problem.guest, where.at(lost[:2] % len(where)))), lost, where, field)
    except (RuntimeError, TypeError) as error:
        if graded:
            raise
        warnings.warn(f"float64 was not possible ({error}); see the status", SeparatrixWarning, stacklevel=3)
        return 0
    field.classify()
    return len(lost)


def _in_double(double: Problem, lost: Tensor, where: Plane | Points, field: Field, method: str) -> None:
    of = lost // len(where)
    for member, alone in double.of_each(of.unique().tolist()):
        route = plan(alone, method)
        for part in lost[of == member].split(route.chunk):
            x = prepare(alone.guest, where.at(part % len(where)))
            _store(alone, route, x, part, field, double.seen.trace.kinked or double.seen.trace.clamped)


def _graded(double: Problem, lost: Tensor, where: Plane | Points, field: Field) -> None:
    route = plan(double, "chain-graded")
    assert route.of_members is not None
    for part in _rectangles(lost, len(where), route.chunk):
        x = prepare(double.guest, where.at(part.flatten() % len(where)))
        for found in route.of_members(x.unflatten(0, part.shape), part[:, 0] // len(where)):
            field.put(part.flatten(), found, route.floor)


def _rectangles(lost: Tensor, count: int, chunk: int) -> Iterator[Tensor]:
    """Pairs of ``count`` points a member as tables of at most ``chunk``, a row for a member.

    Rows are filled up with their last pair, which at most doubles the work, but for a few pairs that cost less than
    another table.
    """
    sizes = (lost // count).unique_consecutive(return_counts=True)[1].tolist()
    rows = [row for own in lost.split(sizes) for row in own.split(chunk)]
    rows.sort(key=len, reverse=True)
    while rows:
        longest = len(rows[0])
        together = [row for row in rows[: chunk // longest] if 2 * len(row) + _FEW > longest]
        rows = rows[len(together) :]
        yield torch.stack([torch.cat([row, row[-1:].expand(longest - len(row))]) for row in together])
