"""Work cut to a byte budget."""

from __future__ import annotations

import re

from separatrix.results.errors import ArgumentError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(memory: int | float | str) -> int:
    """Read a byte budget: a number of bytes, or text such as ``"512MB"`` or ``"1.5GiB"``.

    Raises
    ------
    ArgumentError
        If the text has no known unit or the number is not positive.
    """
    remedy = 'give a positive number of bytes, or text such as "512MB" or "2GiB"'
    if isinstance(memory, str):
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][0-9]+)?)\s*([A-Za-z]*)\s*", memory)
        if not match or match[2].upper() not in _UNITS:
            raise ArgumentError("memory", repr(memory), remedy)
        value = float(match[1]) * _UNITS[match[2].upper()]
    elif isinstance(memory, int | float) and not isinstance(memory, bool):
        value = float(memory)
    else:
        raise ArgumentError("memory", repr(memory), remedy)
    if not 1 <= value < float("inf"):
        raise ArgumentError("memory", repr(memory), remedy)
    return int(value)


def points_per_chunk(bytes_per_point: int, budget: int, what: str) -> int:
    """How many points fit into a budget.

    Raises
    ------
    ArgumentError
        If not even one point fits; the message says how many bytes it takes.
    """
    fit = budget // max(1, bytes_per_point)
    if fit < 1:
        need = -(-bytes_per_point // 10**6)
        raise ArgumentError(
            "memory",
            f"a budget of {budget:,} bytes",
            f'one point needs about {bytes_per_point:,} bytes ({what}); give at least memory="{need}MB"',
        )
    return int(fit)
