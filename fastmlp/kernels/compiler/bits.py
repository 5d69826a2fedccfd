"""Operations that Python lacks, for scalar rules, such as fused multiply-add and access to bits.

Each is one LLVM instruction per number, so loops over rules are vectorised. With
`NUMBA_DISABLE_JIT=1` each has a NumPy implementation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .jit import JIT_ENABLED
from .numba_internals import cgutils, freeze

if JIT_ENABLED:

    @intrinsic
    def pick(typingctx, x, single, double):
        """`single` if x is a float32, `double` if it is a float64; both may be of any type."""
        position = 1 if x == types.float32 else 2
        chosen = (x, single, double)[position]
        return chosen(x, single, double), lambda _context, _builder, _sig, args: args[position]

    @intrinsic
    def fma(typingctx, a, b, c):
        """a b + c, rounded once, in the type of a."""
        return a(a, a, a), lambda _context, builder, _signature, args: builder.fma(*args)

    @intrinsic
    def polynomial(typingctx, x, coefficients):
        """Value at x of a polynomial, by Horner's rule in the type of x, highest power first."""

        def codegen(context, builder, signature, args):
            total, *others = [
                context.cast(builder, value, kind, x)
                for value, kind in zip(
                    cgutils.unpack_tuple(builder, args[1]), coefficients.types, strict=True
                )
            ]
            for coefficient in others:
                total = builder.fma(total, args[0], coefficient)
            return total

        return x(x, coefficients), codegen

    @intrinsic
    def to_bits(typingctx, x):
        """The bits of a floating-point number as a signed integer of its size."""
        integer = types.Integer.from_bitwidth(x.bitwidth)

        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(integer))

        return integer(x), codegen

    @intrinsic
    def in_register(typingctx, x):
        """x itself, for a loop that writes back either x or another number in its place.

        LLVM recognises the x that is already there, and would store only the other numbers, through
        a mask. On Zen 3 that took five times as long as storing all of them. `freeze` hides it.
        """
        return x(x), lambda _context, builder, _signature, args: freeze(builder, *args)

    @intrinsic
    def from_bits(typingctx, bits, like):
        """The number of the type of `like` with these bits; bits beyond its size are cut off."""

        def codegen(context, builder, signature, args):
            cut = context.cast(builder, args[0], bits, types.Integer.from_bitwidth(like.bitwidth))
            return builder.bitcast(cut, context.get_value_type(like))

        return like(bits, like), codegen

else:
    _WIDER: dict[type, Any] = {np.float32: np.float64, np.float64: np.longdouble}
    _INTEGER: dict[type, Any] = {np.float32: np.int32, np.float64: np.int64}
    _HIGH_BITS = np.int64(-1 << 27)  # keeps 26 digits of a float64, so that products are exact

    def pick(x: Any, single: Any, double: Any) -> Any:
        return single if isinstance(x, np.float32) else double

    def fma(a: Any, b: Any, c: Any) -> Any:
        # Rounded twice if the wider type cannot hold the sum: then almost the same as one rounding.
        kind = type(a)
        wider, b, c = _WIDER[kind], kind(b), kind(c)
        product = wider(a) * wider(b)
        total = product + wider(c)
        if kind is np.float64 and abs(total) < abs(product) / 8 < np.inf:
            total += _lost(a, b, product)  # digits that matter once the others cancel
        return kind(total)

    def _lost(a: Any, b: Any, product: Any) -> Any:
        """What the rounding of the product of two float64 has taken from it."""
        wider = type(product)
        high_a, high_b = ((to_bits(x) & _HIGH_BITS).view(np.float64) for x in (a, b))
        high_a, low_a, high_b, low_b = map(wider, (high_a, a - high_a, high_b, b - high_b))
        between = high_a * low_b, low_a * high_b
        return ((high_a * high_b - product) + between[0] + between[1]) + low_a * low_b

    def polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
        total = type(x)(coefficients[0])
        for coefficient in coefficients[1:]:
            total = fma(total, x, coefficient)
        return total

    def in_register(x: Any) -> Any:
        return x

    def to_bits(x: Any) -> Any:
        return x.view(_INTEGER[type(x)])

    def from_bits(bits: Any, like: Any) -> Any:
        return _INTEGER[type(like)](bits).view(type(like))
