"""The modules that an object can reach: through attributes, containers, closures and the globals its code names."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

_LIBRARIES = frozenset(
    {"torch", "numpy", "builtins", "functools", "typing", "abc", "separatrix", "beartype", "jaxtyping"}
)
_LEAVES = (str, bytes, int, float, complex, bool, type(None), Tensor, type, types.ModuleType)


def modules_of(root: object) -> list[nn.Module]:
    """Every module reachable from an object, without those that are a submodule of another one found.

    Walks instance attributes (and slots), class attributes of the user's own classes, containers, partial functions,
    bound methods, closures, default arguments, and the global names that a function's code refers to. Code of libraries
    is not entered.
    """
    found: list[nn.Module] = []
    seen: set[int] = set()
    waiting: list[Any] = [root]
    keep = []  # objects made on the way (bound methods) must live on, or their ids would be used again
    while waiting:
        item = waiting.pop()
        if isinstance(item, _LEAVES) or id(item) in seen:
            continue
        seen.add(id(item))
        keep.append(item)
        if isinstance(item, nn.Module):
            found.append(item)
        waiting.extend(_neighbours(item))
    inner = {id(part) for module in found for part in module.modules() if part is not module}
    return [module for module in reversed(found) if id(module) not in inner]


def _neighbours(item: Any) -> Iterator[Any]:
    if isinstance(item, Mapping):
        yield from item.values()
    elif isinstance(item, list | tuple | set | frozenset):
        yield from item
    elif isinstance(item, functools.partial):
        yield from (item.func, item.args, item.keywords)
    elif isinstance(item, types.MethodType):
        yield from (item.__self__, item.__func__)
    elif isinstance(item, types.FunctionType):
        yield from _of_function(item)
    elif isinstance(item, property):
        yield from (item.fget, item.fset)
    elif isinstance(item, staticmethod | classmethod):
        yield item.__func__
    else:
        yield from getattr(item, "__dict__", {}).values()
        for kind in type(item).__mro__:
            if _is_foreign(kind.__module__):
                continue
            yield from vars(kind).values()
            for slot in getattr(kind, "__slots__", ()):
                yield getattr(item, slot, None)


def _of_function(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a cell that is still empty
            continue
    yield from (function.__defaults__, function.__kwdefaults__, function.__dict__)
    if not _is_foreign(function.__module__):
        for name in _names(function.__code__):
            yield function.__globals__.get(name)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _is_foreign(module: str | None) -> bool:
    return (module or "builtins").split(".")[0] in _LIBRARIES
