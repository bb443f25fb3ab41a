"""Vectors of 512 bits inside compiled kernels, held in the registers of the processor.

The compiler does not find them by itself in loops over eight words. LLVM splits them where registers are narrower.
"""

from __future__ import annotations

from typing import Any, no_type_check

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

WORDS = 8
_WORD = ir.IntType(64)
_VECTOR = ir.VectorType(_WORD, WORDS)


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Vector512")


VECTOR = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Any) -> None:
        super().__init__(manager, of, _VECTOR)


def _place(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:
    """Where a row of an array (n, WORDS) begins."""
    data = context.make_array(kind)(context, builder, array).data
    offset = builder.mul(row, ir.Constant(_WORD, WORDS))
    return builder.bitcast(builder.gep(data, [offset]), _VECTOR.as_pointer())


@intrinsic
@no_type_check
def load(typing: Any, array: Any, row: Any) -> Any:
    """The row of a C-contiguous uint64 array (n, WORDS) as a vector."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = context.cast(builder, args[1], signature.args[1], types.int64)
        return builder.load(_place(context, builder, signature.args[0], args[0], at), align=8)

    return VECTOR(array, row), code


@intrinsic
@no_type_check
def store(typing: Any, array: Any, row: Any, vector: Any) -> Any:
    """Write a vector into the row of a C-contiguous uint64 array (n, WORDS)."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = context.cast(builder, args[1], signature.args[1], types.int64)
        builder.store(args[2], _place(context, builder, signature.args[0], args[0], at), align=8)
        return context.get_dummy_value()

    return types.void(array, row, vector), code


@intrinsic
@no_type_check
def union(typing: Any, a: Any, b: Any) -> Any:
    """Bits that are set in either vector."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.or_(args[0], args[1])

    return VECTOR(a, b), code


@intrinsic
@no_type_check
def population(typing: Any, vector: Any) -> Any:
    """How many bits of a vector are set."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ones = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), f"llvm.ctpop.v{WORDS}i64"
        )
        total = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_WORD, [_VECTOR]), f"llvm.vector.reduce.add.v{WORDS}i64"
        )
        return builder.call(total, [builder.call(ones, [args[0]])])

    return types.int64(vector), code
