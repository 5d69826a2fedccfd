"""Accuracy of the elementary functions over the whole range of both types, and that they vectorise.

float32 is compared with float64, float64 with mpmath. Errors are in units in the last place (ulp)
of the true value; results below the normal numbers may be anything from zero to the smallest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import mpmath
import numba
import numpy as np
import pytest
import scipy.special

from fastmlp.kernels.compiler.bits import fma
from fastmlp.kernels.compiler.calls import Kernel
from fastmlp.kernels.compiler.jit import JIT_ENABLED, VECTOR_BYTES, jit
from fastmlp.kernels.rules import activations, elementary, losses
from fastmlp.nn.losses import LINKS

from ..support import address_of

pytestmark = pytest.mark.thinned(1)


@jit
def normal_distribution(x):
    return elementary.normal(x)[0]


@jit
def softplus_slope(x):
    return elementary.softplus_and_sigmoid(x)[1]


def float64_softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def exact_sigmoid(x: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-x))


def exact_softplus(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.log1p(mpmath.exp(x))


# The function, its truth for float32 and for float64, and the largest error of each that is
# documented.
FUNCTIONS: dict[str, tuple[Any, Callable[..., Any], Callable[..., Any], float, float]] = {
    "exp": (elementary.exp, np.exp, mpmath.exp, 0.84, 0.89),
    "expm1": (elementary.expm1, np.expm1, mpmath.expm1, 1.24, 1.23),
    "log": (elementary.log, np.log, mpmath.log, 0.92, 0.89),
    "log1p": (elementary.log1p, np.log1p, mpmath.log1p, 1.49, 1.43),
    "tanh": (elementary.tanh, np.tanh, mpmath.tanh, 3.24, 3.0),
    "sigmoid": (elementary.sigmoid, scipy.special.expit, exact_sigmoid, 2.5, 2.5),
    "softplus": (elementary.softplus, float64_softplus, exact_softplus, 1.73, 1.73),
    "slope of softplus": (softplus_slope, scipy.special.expit, exact_sigmoid, 1.64, 1.64),
    "normal": (normal_distribution, scipy.special.ndtr, mpmath.ncdf, 6.5, 6.9),
}
TYPES = [np.float32, np.float64]
INF, NAN = math.inf, math.nan


def looped(function: Any) -> Any:
    """A loop over a vector, in place, compiled now and not taken from the cache."""

    def run(z):
        for i in range(z.size):
            z[i] = function(z[i])

    return numba.njit(error_model="numpy")(run)


def values(function: Any, x: np.ndarray) -> np.ndarray:
    y = x.copy()
    looped(function)(y)
    return y


def neighbours(kind: type, steps: int) -> np.ndarray:
    """The numbers around those where some function meets an edge."""
    info = np.finfo(kind)
    integer = np.int32 if kind is np.float32 else np.int64
    places = [0.5, 1, -1, 9.015625, 20.328125, info.tiny, -info.tiny, info.eps, 2.0**60, info.max]
    places += [math.log(info.tiny), math.log(info.max), -math.log(info.max), math.sqrt(0.5)]
    bits = np.array(places, kind).view(integer)
    near = bits[:, None] + np.arange(-steps, steps + 1, dtype=integer)
    near = near.ravel().view(kind)
    return near[np.isfinite(near)]


def sample(kind: type, rng: np.random.Generator, size: int) -> np.ndarray:
    """Finite numbers of every magnitude, and most where functions change."""
    integer = np.uint32 if kind is np.float32 else np.uint64
    widest = 1.05 * math.log(np.finfo(kind).max)
    any_bits = rng.integers(0, np.iinfo(integer).max, size, dtype=integer).view(kind)
    parts = [
        any_bits[np.isfinite(any_bits)],
        rng.uniform(-widest, widest, size).astype(kind),
        rng.uniform(-20, 20, size).astype(kind),
        rng.uniform(-2, 2, size).astype(kind),
        (rng.choice([-1, 1], size) * np.exp2(rng.uniform(-40, 4, size))).astype(kind),
        neighbours(kind, max(1, size // 400)),
    ]
    return np.concatenate(parts)


def exact_error(function: Callable[..., Any], x: float, y: float, kind: type) -> float:
    """Error of y in ulp, by mpmath."""
    info = np.finfo(kind)
    if abs(x) > 1e6 and function is mpmath.ncdf:
        x = math.copysign(1e6, x)  # mpmath counts the terms of its series in a float
    try:
        true = function(mpmath.mpf(x))
    except ValueError:  # a logarithm of 0
        true = mpmath.mpf(-INF)
    if not isinstance(true, mpmath.mpf):  # a complex logarithm
        return 0.0 if math.isnan(y) else INF
    if abs(true) < info.tiny:
        return 0.0 if 0 <= y * mpmath.sign(true) <= info.tiny else INF
    # Halfway between the largest number and the next, which does not exist, all becomes infinite.
    if abs(true) >= mpmath.mpf(2) ** info.maxexp * (1 - mpmath.mpf(2) ** (-info.nmant - 2)):
        return 0.0 if y == math.copysign(INF, true) else INF
    exponent = mpmath.frexp(true)[1]
    return float(abs(y - true) * mpmath.mpf(2) ** (info.nmant + 1 - exponent))


@pytest.mark.thinned(2)
@pytest.mark.nojit
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_as_documented(name: str, kind: type, rng: np.random.Generator) -> None:
    function, _, exact, single, double = FUNCTIONS[name]
    x = sample(kind, rng, 1000 if JIT_ENABLED else 100)
    y = values(function, x)
    assert y.dtype == kind
    with mpmath.workprec(120):
        errors = [
            exact_error(exact, a, b, kind) for a, b in zip(x.tolist(), y.tolist(), strict=True)
        ]
    worst = int(np.argmax(errors))
    # Interpreted, a multiply-add of float64 may be a trifle off its one rounding.
    limit = (single if kind is np.float32 else double) + (0 if JIT_ENABLED else 0.1)
    assert errors[worst] <= limit, (x[worst], y[worst])


@pytest.mark.slow
@pytest.mark.skipif(not JIT_ENABLED, reason="millions of numbers")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_as_documented_all_over_float32(name: str) -> None:
    function, truth, _, limit, _ = FUNCTIONS[name]
    info = np.finfo(np.float32)
    x = np.arange(0, 2**32, 997, dtype=np.uint64).astype(np.uint32).view(np.float32)
    y = values(function, x)
    with np.errstate(all="ignore"):
        true = truth(x.astype(np.float64))
        expected = true.astype(np.float32)
        errors = np.ldexp(np.abs(y - true), info.nmant + 1 - np.frexp(true)[1])
    special = ~np.isfinite(expected)
    tiny = np.abs(true) < info.tiny
    np.testing.assert_array_equal(y[special], expected[special])
    assert np.all(np.abs(y[tiny]) <= info.tiny)
    assert errors[~special & ~tiny].max() <= limit
    assert np.array_equal(np.signbit(y)[~np.isnan(true)], np.signbit(true)[~np.isnan(true)])


EDGES = {
    "exp": [(-INF, 0.0), (-0.0, 1.0), (0.0, 1.0), (INF, INF), (1e4, INF), (-1e4, 0.0)],
    "expm1": [(-INF, -1.0), (-0.0, -0.0), (0.0, 0.0), (INF, INF), (1e4, INF), (-1e4, -1.0)],
    "log": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN), (-INF, NAN)],
    "log1p": [(-1.0, -INF), (-0.0, -0.0), (0.0, 0.0), (INF, INF), (-1.5, NAN), (-INF, NAN)],
    "tanh": [(-INF, -1.0), (-0.0, -0.0), (0.0, 0.0), (INF, 1.0), (1e30, 1.0), (21, 1.0)],
    "sigmoid": [(-INF, 0.0), (-0.0, 0.5), (0.0, 0.5), (INF, 1.0), (1e30, 1.0), (-1e30, 0.0)],
    "softplus": [(-INF, 0.0), (INF, INF), (1e30, 1e30), (-1e30, 0.0)],
    "normal": [(-INF, 0.0), (-0.0, 0.5), (0.0, 0.5), (INF, 1.0), (1e30, 1.0), (-1e30, 0.0)],
}
EDGES["slope of softplus"] = EDGES["sigmoid"]


@pytest.mark.thinned(2)
@pytest.mark.nojit
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_edges_are_exact(name: str, kind: type) -> None:
    x, expected = np.array(EDGES[name], kind).T
    y = values(FUNCTIONS[name][0], x)
    np.testing.assert_array_equal(y, expected)
    assert np.array_equal(np.signbit(y[y == 0]), np.signbit(expected[y == 0]))


@pytest.mark.thinned(2)
@pytest.mark.nojit
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_nan_stays_a_nan(name: str, kind: type) -> None:
    # The lowest bits of a nan must not be taken for an exponent.
    integer = np.int32 if kind is np.float32 else np.int64
    nan = np.array([NAN, -NAN], kind).view(integer)
    x = np.concatenate([nan, nan + 1, nan + 0x81, nan + 0x7FF, nan + 0x401]).view(kind)
    assert np.isnan(x).all()
    assert np.isnan(values(FUNCTIONS[name][0], x)).all()


@pytest.mark.nojit
def test_a_multiply_add_rounds_once() -> None:
    single = np.finfo(np.float32).eps
    one = np.float32(1)
    got = looped_fma(np.array([one + single, one - single, -one]))
    assert got == -(single**2)
    if JIT_ENABLED:
        double = np.finfo(np.float64).eps
        assert looped_fma(np.array([1 + double, 1 - double, -1])) == -(double**2)


@numba.njit
def looped_fma(abc):
    return fma(abc[0], abc[1], abc[2])


def exact_mish(z: mpmath.mpf) -> mpmath.mpf:
    return z * mpmath.tanh(mpmath.log1p(mpmath.exp(z)))


def exact_gelu(z: mpmath.mpf) -> mpmath.mpf:
    return z * mpmath.ncdf(z)


@pytest.mark.nojit
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", ["mish", "gelu"])
def test_rules_keep_their_digits_in_the_left_tail(name: str, kind: type) -> None:
    rule, exact = {
        "mish": (activations.mish, exact_mish),
        "gelu": (activations.gelu, exact_gelu),
    }[name]
    eps = float(np.finfo(kind).eps)
    for z in np.linspace(-12, 40, 27).astype(kind):
        value, slope = rule(z, kind(0))
        with mpmath.workprec(120):
            true_value, true_slope = exact(mpmath.mpf(float(z))), mpmath.diff(exact, float(z))
        assert abs(value - true_value) <= 8 * eps * abs(true_value), z
        # The density's error grows with its exponent, and the slope has a zero.
        assert abs(slope - true_slope) <= 16 * eps * (abs(true_slope) + abs(true_value)), z


EXPONENTIAL_RULES = [
    getattr(activations, name)
    for name in ("elu", "selu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh")
]
# Multiply-adds of one number: at least so many of these rules, and of all others.
LEAST_MULTIPLY_ADDS = {activations.sigmoid: 5, activations.silu: 6}
LEAST_OF_OTHERS = 7


@pytest.mark.nojit
@pytest.mark.parametrize("kind", TYPES)
def test_exponential_rules_let_a_nan_through(kind: type) -> None:
    for rule in EXPONENTIAL_RULES:
        assert np.isnan(rule(kind(NAN), kind(1))).all(), rule


X86_WITH_FMA = pytest.mark.skipif(
    not JIT_ENABLED or VECTOR_BYTES < 32, reason="reads x86 assembly with vectors of AVX2"
)
LIBM = re.compile(r"\b(?:exp|exp2|expm1|log|log1p|tanh|erf|erfc|fma|ldexp|frexp|__svml_\w+)f?\b")


def multiply_adds(dispatcher: Any) -> tuple[int, int]:
    """Packed and scalar multiply-adds of the one version compiled; no libm may be called."""
    (code,) = dispatcher.inspect_asm().values()
    operations = re.findall(r"^\s+(\S+)\s+(.*)$", code, re.MULTILINE)
    targets = [args for name, args in operations if name.startswith(("call", "jmp", "movabs"))]
    assert targets
    assert not [args for args in targets if LIBM.search(args)]
    assert not [args for args in targets if "fastmlp" in args and "kernels10elementary" in args]
    names = [(name, args) for name, args in operations if re.match(r"vfn?m(add|sub)", name)]
    packed = [
        args for name, args in names if name[-2:] in ("ps", "pd") and re.search("[yz]mm", args)
    ]
    return len(packed), len([name for name, _ in names if name[-2:] in ("ss", "sd")])


@pytest.mark.slow
@X86_WITH_FMA
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_loops_are_vectors(name: str, kind: type) -> None:
    loop = looped(FUNCTIONS[name][0])
    loop(np.zeros(1, kind))
    packed, scalar = multiply_adds(loop)
    assert packed >= scalar > 0  # the remainder of a loop is scalar


@pytest.mark.slow
@X86_WITH_FMA
@pytest.mark.parametrize("kind", TYPES)
def test_loops_over_activations_are_vectors(kind: type) -> None:
    needed = 0
    for rule in EXPONENTIAL_RULES:
        fresh = anew(activations.activation(rule))
        z, slope = np.zeros(1, kind), np.zeros(1, kind)
        fresh(address_of(z), address_of(slope), 1, 0.0, kind(1))
        packed, _ = multiply_adds(fresh)  # what is left over may be unrolled, so not scalar
        of_one = of_one_number(rule, kind)
        assert packed >= of_one >= LEAST_MULTIPLY_ADDS.get(rule, LEAST_OF_OTHERS), rule
        needed += of_one
    assert needed >= 8 * 8


def anew(kernel: Kernel) -> Any:
    """A kernel that is compiled now and not taken from the cache."""
    return numba.njit(error_model="numpy")(kernel.called.py_func)


def of_one_number(rule: Any, kind: type) -> int:
    """Multiply-adds that a rule takes for one number."""
    evaluate = numba.njit(lambda z: rule(z, z), error_model="numpy")
    evaluate(kind(0.5))
    (code,) = evaluate.inspect_asm().values()
    return len(re.findall(r"^\s+vfn?m(?:add|sub)\d+s[sd]\s", code, re.MULTILINE))


@pytest.mark.slow
@X86_WITH_FMA
@pytest.mark.parametrize("kind", TYPES)
def test_loops_over_links_are_vectors(kind: type) -> None:
    z, total = np.zeros(1, kind), np.zeros(1)
    rows = numba.njit(error_model="numpy")(losses._softmax_rows.py_func)
    rows(address_of(z), 1, 0, 1, address_of(z), total, kind(1))
    needed = {}
    for name in ("exp", "sigmoid"):
        loop = looped(getattr(elementary, name))
        loop(z)
        needed[name] = multiply_adds(loop)[0]
    assert multiply_adds(rows)[0] >= needed["exp"]
    for name, kernel in LINKS.items():
        if kernel is not None:
            link = anew(kernel)
            link(address_of(z), 1, 1, address_of(total), kind(1))
            function = "sigmoid" if name == "sigmoid" else "exp"
            assert multiply_adds(link)[0] >= needed[function], name


@X86_WITH_FMA
def test_a_call_of_libm_is_found() -> None:
    loop = looped(numba.njit(lambda x: np.exp(x)))
    loop(np.zeros(1))
    with pytest.raises(AssertionError):
        multiply_adds(loop)


@pytest.mark.nojit
@pytest.mark.parametrize(("kind", "most"), [(np.float32, 1e5), (np.float64, 1e9)])
def test_cosine_and_sine_are_as_accurate_as_documented(kind: type, most: float) -> None:
    rng = np.random.default_rng(0)
    for reach in (1.0, 100.0, most):
        for x in rng.uniform(-reach, reach, 150).astype(kind):
            with mpmath.workprec(200):
                true = mpmath.cos(mpmath.mpf(float(x))), mpmath.sin(mpmath.mpf(float(x)))
                for found, truth in zip(elementary.cos_and_sin(x), true, strict=True):
                    unit = float(np.spacing(kind(abs(truth))))
                    assert abs(mpmath.mpf(float(found)) - truth) <= 1.5 * unit, x
    for x in (INF, -INF, NAN):
        assert np.isnan(elementary.cos_and_sin(kind(x))).all()
    assert np.abs(elementary.cos_and_sin(kind(1e30))).max() <= 1
