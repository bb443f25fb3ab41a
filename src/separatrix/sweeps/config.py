"""The configuration of one run: frozen, and with a text that is the same wherever it is made."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from separatrix.results.errors import ArgumentError

_TAKEN = frozenset({"get", "items", "keys", "values"})
_ALLOWED = "values are None, True, False, numbers, text, tuples of these, and mappings"


class Config(Mapping[str, Any]):
    """Values by name, by item or attribute, that cannot be changed.

    Parameters
    ----------
    values : mapping of str to value
        Names are Python identifiers. Values are None, bool, int, finite float, str, lists or tuples of these (kept as
        tuples), or mappings (kept as configs). Numpy scalars become the Python numbers that they equal.

    Raises
    ------
    ArgumentError
        For any other name or value; it names the key.

    Notes
    -----
    Two configs are equal if their canonical texts are. The text keeps types apart: ``1``, ``1.0`` and ``True`` are
    different values, since a tensor made from them differs in type; a list and a tuple are the same.
    """

    __slots__ = ("_text", "_values")

    _values: dict[str, Any]
    _text: str

    def __init__(self, values: Mapping[str, Any], *, _where: str = "config") -> None:
        frozen = {}
        for name, value in values.items():
            _check_name(name, _where)
            frozen[name] = freeze(value, f"{_where}[{name!r}]")
        object.__setattr__(self, "_values", frozen)
        object.__setattr__(self, "_text", canonical(plain(frozen)))

    @property
    def text(self) -> str:
        """Canonical JSON: names sorted, ASCII, no spaces; floats by their shortest exact digits."""
        return self._text

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"the config has no {name!r}; it has {', '.join(self._values) or 'nothing'}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a config is frozen; make a new one to change {name!r}")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Config):
            return self._text == other._text
        return dict(self) == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return type(self), (self._values,)

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"


def canonical(value: object) -> str:
    """JSON text of plain values that is the same for equal values of equal types."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """The value with dicts for configs and lists for tuples, as JSON has them."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def freeze(value: object, where: str) -> Any:
    """The value as configs keep it.

    Raises
    ------
    ArgumentError
        If a config cannot hold it; `where` is the argument that the message names.
    """
    if isinstance(value, np.bool_ | np.integer | np.floating) and np.dtype(value.dtype).itemsize <= 8:
        value = value.item()
    if value is None or type(value) in (bool, int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ArgumentError(where, repr(value), "a value must equal itself to be found again; use None or text")
        return float(value)
    if isinstance(value, str) and type(value).__str__ in (str.__str__, np.str_.__str__):
        return str(value)
    if isinstance(value, tuple | list):
        return tuple(freeze(inner, f"{where}[{i}]") for i, inner in enumerate(value))
    if isinstance(value, Mapping):
        return Config(value, _where=where)
    remedy = _ALLOWED
    if isinstance(value, os.PathLike):
        remedy = "a path means something else on another machine; give str(path) if the text is what you mean"
    elif hasattr(value, "tolist"):
        remedy = f"give .tolist() of it; {_ALLOWED}"
    raise ArgumentError(where, f"{type(value).__name__} {value!r:.60}", remedy)


def _check_name(name: object, where: str) -> None:
    good = isinstance(name, str) and name.isidentifier() and not name.startswith("_") and name not in _TAKEN
    if not good:
        raise ArgumentError(
            where,
            f"the name {name!r}",
            f"names are Python identifiers without a leading underscore, and not {', '.join(sorted(_TAKEN))}",
        )
