"""Exponentials and related functions of one number, in the precision of that number.

Each is straight-line code of multiply-adds and selections, without branches, tables or calls, so
LLVM vectorises it. The rules of activations and losses call only these, so this file determines
accuracy and speed of every transcendental function.

Arguments are reduced as in Cody and Waite, and reconstructed without losing digits that a later
step needs (Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed. 2018, ch. 10). "ulp" below
is the largest error found, in units in the last place of the true value, for float32 and float64:
over every 23rd float32 and (except for `normal`) millions of float64 of every magnitude. nan gives
nan; results that would be subnormal may be zero.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..compiler.bits import fma, from_bits, pick, polynomial, to_bits
from ..compiler.jit import rule


class _Constants(NamedTuple):
    """The constants that differ between float32 and float64.

    Polynomials (highest power first) are near-minimax in relative error. They were found by
    Lawson's reweighted least squares in 160 bits, rounding coefficients one by one from the lowest
    power on and refitting the rest. The comment on each gives its largest relative error.
    """

    # The format: x = m 2^k has k + bias above `mantissa_bits` bits of m.
    mantissa_bits: int
    mantissa_mask: int
    exponent_mask: int
    bias: float
    smallest_normal: float
    bits_of_1: int
    bits_of_half: int
    bits_of_root_half: int
    # From `first_integer` on all numbers are integers, with their value in the lowest bits.
    first_integer: float
    bits_of_first_integer: int
    # ln 2 in two parts: the first has so few bits that its product with any exponent k is exact.
    ln2_high: float
    ln2_low: float
    # The range in which exp(x) is normal, and the bounds beyond which expm1 equals its limits.
    exp_min: float
    exp_max: float
    expm1_min: float
    expm1_max: float
    exp_terms: tuple[float, ...]
    # r coth(r / 2) for |r| <= ln(2) / 2, as a polynomial of r^2; from `sigmoid_max` on, the sigmoid
    # is 1.
    coth_terms: tuple[float, ...]
    sigmoid_max: float
    log_terms: tuple[float, ...]
    # Two polynomials of x^2 whose quotient gives tanh(x / 2); from `tanh_max` on, tanh(x) is 1.
    tanh_above: tuple[float, ...]
    tanh_below: tuple[float, ...]
    tanh_max: float
    # A quotient of two polynomials with positive terms only, valid up to the given number.
    mills_above: tuple[float, ...]
    mills_below: tuple[float, ...]
    mills_max: float
    half_pi: tuple[float, float, float]  # pi / 2 in three parts
    sin_terms: tuple[float, ...]
    cos_terms: tuple[float, ...]


_SINGLE = _Constants(
    mantissa_bits=23,
    mantissa_mask=2**23 - 1,
    exponent_mask=0xFF,
    bias=127.0,
    smallest_normal=2.0**-126,
    bits_of_1=int(np.float32(1).view(np.int32)),
    bits_of_half=int(np.float32(0.5).view(np.int32)),
    bits_of_root_half=int(np.float32(math.sqrt(0.5)).view(np.int32)),
    first_integer=2.0**23,
    bits_of_first_integer=int(np.float32(2.0**23).view(np.int32)),
    ln2_high=0.693145751953125,  # 15 bits
    ln2_low=1.428606765330187e-06,
    exp_min=-87.33654022216797,
    exp_max=88.72283172607422,
    expm1_min=-20.0,
    expm1_max=89.0,
    exp_terms=(  # 2^-31.1 of exp(r) - 1
        0.00019764379248954356,
        0.001393236219882965,
        0.008333543315529823,
        0.04166649281978607,
        0.1666666567325592,
        0.5,
    ),
    coth_terms=(-0.002766010118648409, 0.166666179895401, 2.0),  # 2^-30.8 of exp(r)
    sigmoid_max=40.0,
    log_terms=(  # 2^-30.2
        0.2987097203731537,
        0.39977580308914185,
        0.6666677594184875,
    ),
    tanh_above=(0.00011430944869061932, 0.029776517301797867),  # 2^-26.9 of tanh(x)
    tanh_below=(1.2300916978347232e-06, 0.0012068290961906314, 0.11310981959104538),
    tanh_max=9.015625,
    mills_above=(  # 2^-24.5 of the quotient
        0.004077456891536713,
        0.04037155583500862,
        0.18245893716812134,
        0.4372471272945404,
        0.5,
    ),
    mills_below=(
        0.010220539756119251,
        0.1012033000588417,
        0.4674214720726013,
        1.1992789506912231,
        1.6723792552947998,
        1.0,
    ),
    mills_max=14.0,
    half_pi=(1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    sin_terms=(  # 2^-27.9
        -0.00019518288900144398,
        0.008332189172506332,
        -0.16666655242443085,
    ),
    cos_terms=(  # 2^-33.0
        2.4432563805021346e-05,
        -0.0013887310633435845,
        0.04166664555668831,
    ),
)

_DOUBLE = _Constants(
    mantissa_bits=52,
    mantissa_mask=2**52 - 1,
    exponent_mask=0x7FF,
    bias=1023.0,
    smallest_normal=2.0**-1022,
    bits_of_1=int(np.float64(1).view(np.int64)),
    bits_of_half=int(np.float64(0.5).view(np.int64)),
    bits_of_root_half=int(np.float64(math.sqrt(0.5)).view(np.int64)),
    first_integer=2.0**52,
    bits_of_first_integer=int(np.float64(2.0**52).view(np.int64)),
    ln2_high=0.693147180559663,  # 41 bits
    ln2_low=2.8235290563031577e-13,
    exp_min=-708.3964185322641,
    exp_max=709.782712893384,
    expm1_min=-40.0,
    expm1_max=710.0,
    exp_terms=(  # 2^-55.2 of exp(r) - 1
        2.504527654683896e-08,
        2.7622483159172416e-07,
        2.7557427791820215e-06,
        2.480151578139348e-05,
        0.00019841269705688118,
        0.0013888888920894134,
        0.008333333333390213,
        0.0416666666666192,
        0.166666666666666,
        0.5,
    ),
    coth_terms=(  # 2^-62.3 of exp(r)
        4.136029470235426e-08,
        -1.653383672155206e-06,
        6.613756249788507e-05,
        -0.002777777777669557,
        0.16666666666666555,
        2.0,
    ),
    sigmoid_max=80.0,
    log_terms=(  # 2^-59.5
        0.14797180511890892,
        0.15313928430036222,
        0.1818356909753941,
        0.2222219848045186,
        0.2857142874331493,
        0.39999999999410296,
        0.6666666666666735,
    ),
    tanh_above=(  # 2^-59.1 of tanh(x)
        2.0775409875582484e-17,
        4.087789029735965e-13,
        1.1314618924767151e-09,
        9.843133811829998e-07,
        0.00031978974256101854,
        0.03648961841863806,
    ),
    tanh_below=(
        2.0983543771890108e-15,
        1.2728069896762236e-11,
        1.8952855798642515e-08,
        1.0022216081932713e-05,
        0.0019717023885586545,
        0.11982295175197138,
    ),
    tanh_max=20.328125,
    mills_above=(  # 2^-53.1 of the quotient
        1.3856309963511823e-06,
        3.725257348065241e-05,
        0.0004903997858719701,
        0.004089190708776505,
        0.023621839072998658,
        0.09769739987584176,
        0.2893282120012003,
        0.5940399629593351,
        0.77486949372935,
        0.5,
    ),
    mills_below=(
        3.4732618336693125e-06,
        9.337835398723675e-05,
        0.0012327232311726887,
        0.010343459393775956,
        0.06043347359019311,
        0.25495437750975924,
        0.7820259233830544,
        1.7143580885234095,
        2.5612125096541285,
        2.3476235482615553,
        1.0,
    ),
    mills_max=39.0,
    half_pi=(1.5707963267948966, 6.123233995736766e-17, -1.4973849048591691e-33),
    sin_terms=(  # 2^-57.9
        1.5895821804202706e-10,
        -2.5050740259633836e-08,
        2.755731356978969e-06,
        -0.000198412698294269,
        0.008333333333321891,
        -0.1666666666666663,
    ),
    cos_terms=(  # 2^-63.9
        -1.1358747111980544e-11,
        2.087570536610064e-09,
        -2.7557314216901837e-07,
        2.4801587289001876e-05,
        -0.0013888888888873342,
        0.041666666666666595,
    ),
)

_LOG2_E = math.log2(math.e)
_NORMAL_DENSITY_0 = 1 / math.sqrt(2 * math.pi)
_TWO_OVER_PI = 2 / math.pi


@rule
def _reduce(x):
    """exp(x) = 2^k (1 + head + tail), |head| <= ln(2) / 2: returns k as below, head and tail.

    Adding 1.5 2^mantissa_bits rounds x / ln 2 to the integer k, which is then in the lowest bits of
    the sum. head = x - k ln2_high is exact; tail is the rest.
    """
    c = pick(x, _SINGLE, _DOUBLE)
    shift = type(x)(1.5) * type(x)(c.first_integer)
    shifted = fma(x, _LOG2_E, shift)
    k = shifted - shift
    head = fma(k, -c.ln2_high, x)
    low = k * type(x)(c.ln2_low)
    r = head - low
    return shifted, head, fma(r * r, polynomial(r, c.exp_terms), -low)


@rule
def _times_power(base_bits, shifted):
    """2^k times the number with these bits if the result is normal; k as `_reduce` returns it."""
    c = pick(shifted, _SINGLE, _DOUBLE)
    return from_bits(base_bits + (to_bits(shifted) << c.mantissa_bits), shifted)


@rule
def exp(x):
    """e^x; 0.84 and 0.89 ulp."""
    c = pick(x, _SINGLE, _DOUBLE)
    kind = type(x)
    shifted, head, tail = _reduce(x)
    y = _times_power(to_bits(kind(1) + (head + tail)), shifted)
    y = y if x <= kind(c.exp_max) else x + kind(math.inf)  # nan + inf is nan
    return kind(0) if x < kind(c.exp_min) else y


@rule
def _exp_of_negative(x):
    """e^x for x <= 0, where 2^k cannot overflow: cheaper than `exp` and as accurate."""
    c = pick(x, _SINGLE, _DOUBLE)
    shifted, head, tail = _reduce(x)
    power = _times_power(c.bits_of_1, shifted)
    y = fma(power, head + tail, power)
    return type(x)(0) if x < type(x)(c.exp_min) else y


@rule
def expm1(x):
    """e^x - 1 without cancellation near 0; 1.24 and 1.23 ulp.

    Computed as (2^k - 1 + 2^k head) + 2^k tail, each sum rounded once. Half of the result is
    computed first, because 2^k itself would overflow where e^x is largest.
    """
    c = pick(x, _SINGLE, _DOUBLE)
    lowest, highest = type(x)(c.expm1_min), type(x)(c.expm1_max)
    bounded = lowest if x < lowest else highest if x > highest else x
    shifted, head, tail = _reduce(bounded)
    power = _times_power(c.bits_of_half, shifted)
    half = fma(power, tail, fma(power, head, power - type(x)(0.5)))
    return np.copysign(half + half, x)  # keeps -0


@rule
def _exponent_field(x):
    """k + bias of x = m 2^k with m from sqrt(1/2) to sqrt(2), for a positive normal number x."""
    c = pick(x, _SINGLE, _DOUBLE)
    moved = to_bits(x) - c.bits_of_root_half + c.bits_of_1
    return (moved >> c.mantissa_bits) & c.exponent_mask


@rule
def _exponent(field, like):
    """k of an exponent field as a float; before AVX-512 no instruction converts int64 vectors."""
    c = pick(like, _SINGLE, _DOUBLE)
    number = from_bits(field | c.bits_of_first_integer, like)
    return number - type(like)(c.first_integer + c.bias)


@rule
def _log_of_parts(k, f):
    """k ln 2 + log(1 + f) for f from sqrt(1/2) - 1 to sqrt(2) - 1.

    log(1 + f) = 2 artanh(s) = 2 s + s r with s = f / (2 + f), and 2 s = f - s f.
    """
    c = pick(f, _SINGLE, _DOUBLE)
    s = f / (f + type(f)(2))
    square = s * s
    r = square * polynomial(square, c.log_terms)
    low = fma(-s, f - r, k * type(f)(c.ln2_low))
    return fma(k, c.ln2_high, f + low)


@rule
def _with_edges(y, x):
    """y = log(x), corrected to -inf at 0, nan below 0, and x itself if it is inf or nan."""
    kind = type(x)
    y = y if x < kind(math.inf) else x
    edge = kind(-math.inf) if x == 0 else kind(math.nan)
    return edge if x <= 0 else y


@rule
def log(x):
    """Natural logarithm; 0.92 and 0.89 ulp."""
    c = pick(x, _SINGLE, _DOUBLE)
    kind = type(x)
    is_small = x < kind(c.smallest_normal)
    normal = x * kind(c.first_integer) if is_small else x
    k = _exponent(_exponent_field(normal), x)
    k = k - kind(c.mantissa_bits) if is_small else k
    rest = (to_bits(normal) - c.bits_of_root_half) & c.mantissa_mask
    m = from_bits(rest + c.bits_of_root_half, x)
    return _with_edges(_log_of_parts(k, m - kind(1)), x)


@rule
def _log1p_plus(x, k0):
    """log(1 + x) + k0 ln 2, for x > -1 that are not huge.

    k is the exponent of the rounded 1 + x, but f = 2^-k (1 + x) - 1 is computed from x itself and
    rounded once.
    """
    c = pick(x, _SINGLE, _DOUBLE)
    one = type(x)(1)
    field = _exponent_field(one + x)
    inverse = from_bits(2 * c.bits_of_1 - (field << c.mantissa_bits), x)
    f = fma(inverse, x, inverse - one)
    return _log_of_parts(_exponent(field, x) + k0, f)


@rule
def log1p(x):
    """log(1 + x) without cancellation near 0; 1.49 and 1.43 ulp."""
    kind = type(x)
    is_huge = x > kind(2.0**60)  # then 1 + x rounds to x, and 2^-k might underflow
    y = _log1p_plus(x * kind(2.0**-8) if is_huge else x, kind(8) if is_huge else kind(0))
    return _with_edges(np.copysign(y, x), kind(1) + x)


@rule
def tanh(x):
    """Hyperbolic tangent; 3.24 and 3.0 ulp.

    2 t / (1 + t^2) with t = tanh(x / 2) = n / (2 + 2 d), a quotient of polynomials: the larger x,
    the less an error of t counts. The formula takes one division and no exponential.
    """
    c = pick(x, _SINGLE, _DOUBLE)
    one, most = type(x)(1), type(x)(c.tanh_max)
    a = abs(x)
    a = most if a > most else a
    square = a * a
    n = fma(a * square, polynomial(square, c.tanh_above), a)
    d = square * polynomial(square, c.tanh_below)
    rest = fma(type(x)(0.25) * n, n, fma(d, d, d + d))
    y = fma(n, d, n) / (one + rest)
    return np.copysign(one if y > one else y, x)


@rule
def scaled_sigmoid(x, power):
    """2^power sigmoid(x), for products that are normal where sigmoid(x) is not; power >= 0.

    exp(x) = 2^k (c + r) / (c - r) with c = r coth(r / 2), so the sigmoid takes one division and no
    exponential. x / ln 2 is rounded to k as in `_reduce`; the number added here includes `power`
    and the exponent's bias, so that the lowest bits of the sum are the exponent of 2^(k + power).
    At the lower bound they are all 0, and so is the result.
    """
    c, kind = pick(x, _SINGLE, _DOUBLE), type(x)
    least, most = kind(-(c.bias + power) / _LOG2_E), kind(c.sigmoid_max)
    bounded = least if x < least else most if x > most else x
    shift = kind(1.5) * kind(c.first_integer) + kind(c.bias + power)
    shifted = fma(bounded, _LOG2_E, shift)
    k = shifted - shift
    r = fma(k, -c.ln2_low, fma(k, -c.ln2_high, bounded))
    coth = polynomial(r * r, c.coth_terms)
    above = from_bits(to_bits(shifted) << c.mantissa_bits, x) * (coth + r)
    return above / fma(above, kind(2.0**-power), coth - r)


@rule
def sigmoid(x):
    """1 / (1 + exp(-x)), accurate in both tails; 2.5 ulp in both types."""
    return scaled_sigmoid(x, 0)


@rule
def softplus_and_sigmoid(x):
    """Softplus as below and its derivative, from the same exponential; 1.64 ulp in both types.

    With e = exp(-|x|) and q = e / (1 + e) the derivative is e - e q for negative x, 1 - q for
    positive x. For negative x, q itself would have twice the error of e.
    """
    zero, one = type(x)(0), type(x)(1)
    e = _exp_of_negative(-abs(x))
    whole = e if x < 0 else one
    value = (zero if x < 0 else x) + _log1p_plus(e, zero)
    return value, fma(-whole, e / (one + e), whole)


@rule
def softplus(x):
    """log(1 + exp(x)), without overflow and accurate in both tails; 1.73 ulp in both types."""
    return softplus_and_sigmoid(x)[0]


@rule
def _normal_tail(a):
    """Tail probability of the normal distribution above a >= 0, and exp(-a^2 / 2).

    Their quotient (Mills' ratio over sqrt(2 pi)) is smooth and falls slowly: from 1/2 at 0, like
    1 / a.
    """
    c = pick(a, _SINGLE, _DOUBLE)
    kind = type(a)
    farthest = kind(c.mills_max)
    a = farthest if a > farthest else a
    square = a * a
    rest = fma(a, a, -square)
    e = _exp_of_negative(kind(-0.5) * square)
    e = fma(e, kind(-0.5) * rest, e)
    return e * (polynomial(a, c.mills_above) / polynomial(a, c.mills_below)), e


@rule
def normal(x):
    """Distribution function and density of the standard normal distribution at x.

    The left tail is as accurate as the rest, relative to its size: 6.5 and 6.9 ulp.
    """
    tail, e = _normal_tail(abs(x))
    return (tail if x < 0 else type(x)(1) - tail), type(x)(_NORMAL_DENSITY_0) * e


@rule
def cos_and_sin(x):
    """Cosine and sine; 1.5 ulp in both types, up to 1e5 in float32 and 1e9 in float64.

    x = k pi/2 + r with |r| <= pi/4; the last two bits of k decide which of cos r and sin r is which
    of both, and the signs. Larger numbers keep fewer digits; those that have none left give
    something from -1 to 1, infinity gives nan.
    """
    c, kind = pick(x, _SINGLE, _DOUBLE), type(x)
    one, two = 1, 2  # of the type of the bits
    shift = kind(1.5) * kind(c.first_integer)
    shifted = fma(x, _TWO_OVER_PI, shift)
    k = shifted - shift
    r = fma(k, -c.half_pi[2], fma(k, -c.half_pi[1], fma(k, -c.half_pi[0], x)))
    r = kind(-1) if r < kind(-1) else kind(1) if r > kind(1) else r
    square = r * r
    sine = fma(r * square, polynomial(square, c.sin_terms), r)
    half = kind(0.5) * square
    whole = kind(1) - half
    rest = (kind(1) - whole) - half
    cosine = whole + fma(square * square, polynomial(square, c.cos_terms), rest)
    quadrant = to_bits(shifted)
    is_odd = (quadrant & one) != 0
    far, near = (cosine, sine) if is_odd else (sine, cosine)
    near = -near if ((quadrant + one) & two) != 0 else near
    far = -far if (quadrant & two) != 0 else far
    return near, far
