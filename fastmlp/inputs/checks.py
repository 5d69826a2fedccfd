"""Input validation: users' arguments are turned into clean arrays and numbers, or refused.

All other code can rely on shapes, types and finite values.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import math
import numbers
from typing import Any

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..kernels.compiler.memory import laid_out
from ..kernels.step.rows import KINDS
from .tables import is_sparse, sorted_csr

_PASS_THROUGH = tuple(KINDS)
_FEW = 4096  # numbers
# Objects that NumPy converts to numbers in an object array, but not in an array of their own type.
_NOT_REAL = (str, bytes, complex, np.complexfloating, np.datetime64, np.timedelta64)


def number(
    where: str,
    name: str,
    value: Any,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """A finite real number in a range that includes `low` and `high` unless they are open."""

    def expected() -> str:
        left = f"{'above' if low_open else 'at least'} {low:g}" if math.isfinite(low) else ""
        right = f"{'below' if high_open else 'at most'} {high:g}" if math.isfinite(high) else ""
        wanted = " and ".join(part for part in (left, right) if part)
        return f"{name} to be a number {wanted}".rstrip()

    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise InputTypeError(where, expected(), type(value).__name__, "pass a number")
    try:
        real = float(value)
    except OverflowError:  # an integer too large for a float
        real = -np.inf if value < 0 else np.inf
    inside = (real > low if low_open else real >= low) and (
        real < high if high_open else real <= high
    )
    if not (inside and math.isfinite(real)):
        got = repr(real).removesuffix(".0")  # all digits, so that 1.0000001 does not read as 1
        raise InputError(where, expected(), got, "choose a value in that range")
    return real


def whole_number(where: str, name: str, value: Any, low: int, high: float = np.inf) -> int:
    """An integer of at least `low` and at most `high`."""
    if type(value) is int and low <= value <= high:
        return value
    expected = f"{name} to be a whole number of at least {low}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise InputTypeError(where, expected, type(value).__name__, "pass an int")
    if value < low:
        raise InputError(where, expected, str(value), "choose a larger one")
    if int(value) > high:
        expected = f"{name} to be a whole number of at most {high}"
        raise InputError(where, expected, str(value), "choose a smaller one")
    return int(value)


def answers(where: str, outputs: np.ndarray) -> np.ndarray:
    """Outputs, or an error if large inputs overflowed and gave nan."""
    bad = np.isnan(outputs)
    if bad.any():
        row = int(np.flatnonzero(bad.any(axis=1))[0])
        raise InputError(
            where, f"rows whose outputs {outputs.dtype.name} can hold", f"nan for row {row}",
            "scale the inputs down, or use float64",
        )  # fmt: skip
    return outputs


def takes(where: str, what: str, function: Any, *names: str, **options: Any) -> None:
    """Refuse a function that cannot be called with these arguments and options."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature
        return
    try:
        signature.bind(*names, **options)
    except TypeError:
        wanted = ", ".join([*names, *(f"{key}={value}" for key, value in options.items())])
        raise InputTypeError(
            where, f"{what} of ({wanted})", f"one of ({', '.join(signature.parameters)})",
            "give it these arguments",
        ) from None  # fmt: skip


def to_update(where: str, params: Any, grads: Any) -> None:
    """Refuse arrays that an optimizer's step cannot treat as one contiguous run of numbers."""
    for name, value, needs in (("params", params, "carray"), ("grads", grads, "c_contiguous")):
        wanted = f"{name} as a contiguous array of float32 or float64"
        if needs == "carray":
            wanted += " that may be written to"
        if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
            raise InputTypeError(where, wanted, type(value).__name__, f"pass net.{name}, say")
        if value.dtype not in (np.float32, np.float64) or not value.dtype.isnative:
            raise InputTypeError(where, wanted, f"dtype {value.dtype}", "convert it")
        if not (getattr(value.flags, needs) and value.flags.aligned):
            got = "a read-only one" if value.flags.c_contiguous else "a strided one"
            raise InputError(where, wanted, got, "make a copy, or pass whole arrays")
    if grads.shape != params.shape or grads.dtype != params.dtype:
        raise InputError(
            where, f"grads of shape {params.shape} and type {params.dtype.name}, as params",
            f"shape {grads.shape} and type {grads.dtype.name}", "pass the gradient of these params",
        )  # fmt: skip


def array(where: str, name: str, value: Any) -> np.ndarray:
    """An array from anything array-like that is dense and rectangular."""
    if type(value) is np.ndarray:
        return value
    if hasattr(value, "toarray"):
        raise InputTypeError(
            where, f"{name} as a dense array", type(value).__name__, "call its .toarray() first"
        )
    if np.ma.is_masked(value):
        raise InputError(
            where, f"{name} without masked values", "some", "fill them in or drop their rows"
        )
    try:
        columns = _number_columns(value)
        return np.asarray(value) if columns is None else np.column_stack(columns)
    except InputError:  # of a stored table
        raise
    except ValueError:
        raise InputError(
            where, f"{name} as a rectangular array", "rows of different lengths", "pad or cut them"
        ) from None


def _number_columns(value: Any) -> list[np.ndarray] | None:
    """Columns of a pandas frame with nullable types, if all of them hold numbers.

    The whole frame would become an array of objects; in single columns, gaps become nan.
    """
    if not hasattr(value, "iloc") or np.ndim(value) != 2:
        return None
    if all(isinstance(dtype, np.dtype) for dtype in value.dtypes):
        return None
    columns = [np.asarray(value.iloc[:, i]) for i in range(value.shape[1])]
    return columns if columns and all(column.dtype.kind in "biuf" for column in columns) else None


def _shape(values: np.ndarray) -> str:
    return f"an array of shape {values.shape}"


def numeric(where: str, name: str, values: np.ndarray) -> np.ndarray:
    """float16, float32, float64 and uint8 unchanged, other integers and booleans as float64."""
    if values.dtype in _PASS_THROUGH:
        return values
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    if values.dtype.kind == "O" and not any(isinstance(v, _NOT_REAL) for v in values.flat):
        complete(where, f"{name} to be finite", values)
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return values.astype(np.float64)
    raise _not_numbers(where, name, values.dtype)


def complete(
    where: str,
    expected: str,
    values: np.ndarray,
    advice: str = "remove, replace or impute it",
) -> None:
    """Refuse None, pd.NA, NaT and nan among objects, text and dates; names the first position."""
    if values.dtype.kind in "mM":
        missing = np.isnat(values)
    elif values.dtype.kind in "OT":
        found = (_is_missing(value) for value in values.flat)
        missing = np.fromiter(found, bool, values.size).reshape(values.shape)
    else:
        return
    if missing.any():
        spot = _spot(np.argwhere(missing)[0])
        raise InputError(where, expected, f"a missing value in {spot}", advice)


def _is_missing(value: Any) -> bool:
    """Whether it is None or, as nan and NaT, not equal to itself; pd.NA does not say."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:
        return True
    except (ValueError, ArithmeticError):  # an array, or a decimal that must not be compared
        return False


def _spot(place: Any) -> str:
    """The position of an entry: "row 3", or "row 3, column 1" in a matrix."""
    if not len(place):
        return "its only entry"
    row, *column = (int(i) for i in place)
    return f"row {row}" + "".join(f", column {i}" for i in column[:1])


def real_numbers(where: str, name: str, value: Any) -> None:
    """Refuse text, dates and durations, which NumPy might convert to numbers.

    Other errors, such as complex numbers, are found in the conversion.
    """
    values = array(where, name, value)
    kind = values.dtype.kind
    if kind == "O":
        is_bad = any(isinstance(v, _NOT_REAL) for v in values.flat)
    else:
        is_bad = kind not in "biufc"
    if is_bad:
        raise _not_numbers(where, name, values.dtype)


def numeric_type(where: str, name: str, table: Any) -> None:
    """Refuse rows of text, dates or durations by type; scikit-learn may convert them to numbers.

    For lists and frames, the type of one row is checked. Objects are checked in the conversion.
    """
    dtype = getattr(table, "dtype", None)
    if dtype is None:
        with contextlib.suppress(Exception):  # other errors will be found again in all rows
            dtype = np.asarray(table[:1]).dtype
    if isinstance(dtype, np.dtype) and dtype.kind not in "biufcO":
        raise _not_numbers(where, name, dtype)


def _not_numbers(where: str, name: str, dtype: np.dtype) -> InputTypeError:
    real, advice = "", "encode text and categories as numbers first, or drop those columns"
    if dtype.kind == "c":
        real, advice = "real ", "take the real part or the absolute value"
    elif dtype.kind in "mM":
        advice = "count days or seconds from a date of your choice"
    return InputTypeError(where, f"{name} to hold {real}numbers", f"dtype {dtype}", advice)


def not_finite(where: str, name: str, values: Any) -> InputError | None:
    """The error that names the first nan or infinity (in storage order if CSR), or None."""
    stored = values.data if is_sparse(values) else values
    place = _first_not_finite(stored)
    if place is None:
        return None
    number = stored[place]
    if is_sparse(values):
        row = int(np.searchsorted(values.indptr, place[0], side="right")) - 1
        place = row, int(values.indices[place])
    what = "nan" if np.isnan(number) else "an infinity"
    return InputError(
        where, f"{name} to be finite", f"{what} in {_spot(place)}", "remove, replace or impute it"
    )


def is_finite(values: np.ndarray) -> bool:
    """Whether all numbers are certainly finite; also False if their sum overflows.

    A sum is nan or infinite if any term is, and takes one pass over memory without a mask. Of a
    few numbers a mask takes less time.
    """
    if values.size <= _FEW:
        mask = np.isfinite(values).ravel("K")
        return mask.size == 0 or bool(mask[mask.argmin()])  # sooner than `all`
    with np.errstate(all="ignore"):  # float16 soon overflows; a conversion to float64 takes time
        return math.isfinite(values.sum(dtype=np.float32 if values.itemsize == 2 else None))


def _first_not_finite(values: np.ndarray) -> tuple[int, ...] | None:
    if values.dtype.kind != "f" or values.size == 0 or is_finite(values):
        return None
    bad = ~np.isfinite(values)
    if not bad.any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), values.shape))


def finite(where: str, name: str, values: Any) -> None:
    """Refuse nan and infinities; names the position of the first."""
    error = not_finite(where, name, values)
    if error is not None:
        raise error


def converted(where: str, name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert finite numbers to a contiguous array of another type; refuses overflow."""
    if values.dtype == dtype:
        return laid_out(values, dtype)
    with np.errstate(over="ignore", under="ignore"):
        result = laid_out(values, dtype)
    if result.dtype.itemsize < values.dtype.itemsize and not np.isfinite(result).all():
        row = int(np.argwhere(~np.isfinite(result))[0, 0])
        raise InputError(
            where, f"{name} within {dtype.name}", f"a larger number in row {row}",
            "scale it, or use dtype='float64'",
        )  # fmt: skip
    return result


def assign(where: str, target: np.ndarray, value: Any) -> None:
    """Copy finite numbers into an array: values of its shape, or one number for all entries."""
    if type(value) is np.ndarray and value.dtype.kind == "f" and value.shape == target.shape:
        # The usual case needs no search for the first bad number.
        with np.errstate(over="ignore"):
            numbers = value.astype(target.dtype, copy=False)
        if is_finite(numbers):
            target[...] = numbers
            return
    values = array(where, "values", value)
    if values.ndim == 0:
        values = np.broadcast_to(values, target.shape)
    values = numeric(where, "values", values)
    if values.shape != target.shape:
        raise InputError(
            where, f"values of shape {target.shape}", f"shape {values.shape}",
            "pass as many numbers as there are",
        )  # fmt: skip
    finite(where, "values", values)
    target[...] = converted(where, "values", values, target.dtype)


def matrix(
    where: str, name: str, value: Any, n_columns: int | None = None, search: bool = True
) -> Any:
    """A matrix of numbers with at least one row and column, as an array or in CSR form.

    It is checked to be finite, unless the computation will detect numbers that are not.
    """
    sparse = is_sparse(value)
    values: Any = _sparse_matrix(where, name, value) if sparse else array(where, name, value)
    wanted = f"{name} of shape (n, {n_columns if n_columns is not None else 'n_features'})"
    if values.ndim == 0:
        got = type(values.item()).__name__
        raise InputTypeError(where, wanted, got, "pass one row of numbers for each sample")
    if values.ndim != 2:
        advice = f"use {name}.reshape(1, -1) for one row, {name}.reshape(-1, 1) for one column"
        if values.ndim > 2:
            advice = f"use {name}.reshape(len({name}), -1) to make each sample one row"
        raise InputError(where, wanted, _shape(values), advice)
    if values.shape[0] == 0 or values.shape[1] == 0:
        raise InputError(
            where,
            f"{name} with at least one row and column",
            _shape(values),
            "check how the data was selected",
        )
    if n_columns is not None and values.shape[1] != n_columns:
        raise InputError(
            where, wanted, _shape(values), "pass the columns the network was built for"
        )
    if not sparse:
        values = numeric(where, name, values)
    if search:
        finite(where, name, values)
    return values


def _sparse_matrix(where: str, name: str, value: Any) -> Any:
    """A CSR matrix of numbers with sorted, valid column indices."""
    valid_sparse(where, name, value)
    values = sorted_csr(value)
    if values.dtype.kind not in "biuf":
        raise _not_numbers(where, name, values.dtype)
    return values


def valid_sparse(where: str, name: str, value: Any) -> None:
    """Refuse a sparse matrix whose arrays do not fit each other or its shape; accept all else.

    SciPy itself may crash when it converts such a matrix, so this must come first.
    """
    if not is_sparse(value):
        return
    try:
        _check_parts(value)
        if value.format not in ("csr", "csc", "bsr", "coo"):  # others are checked when converted
            _check_parts(value.tocsr())
    except (ValueError, TypeError, AttributeError, IndexError):
        raise InputError(
            where, f"{name} as a valid sparse matrix", "one whose indices do not fit its shape",
            "build it again, for example with scipy.sparse.csr_array",
        ) from None  # fmt: skip


def _check_parts(matrix: Any) -> None:
    """Raise ValueError, or what Python does, if a non-zero stands outside a sparse matrix."""
    if hasattr(matrix, "check_format"):
        # On a copy of its attributes, since SciPy's check replaces arrays of another type.
        copy.copy(matrix).check_format(full_check=True)
        if np.diff(matrix.indptr).min(initial=0) < 0:  # SciPy does not look where there are no data
            raise ValueError("rows in order")
    elif matrix.format == "coo":
        for places, size in zip((matrix.row, matrix.col), matrix.shape, strict=True):
            if places.shape != matrix.data.shape or places.dtype.kind not in "iu":
                raise ValueError("a place for each number")
            if places.size and not 0 <= places.min() <= places.max() < size:
                raise ValueError("a place outside the matrix")
    elif matrix.format == "lil":
        pairs = zip(matrix.rows, matrix.data, strict=True)
        if len(matrix.rows) != matrix.shape[0] or any(len(js) != len(vs) for js, vs in pairs):
            raise ValueError("a column for each number")
    elif matrix.format == "dia" and matrix.offsets.shape != matrix.data.shape[:1]:
        raise ValueError("a diagonal for each row of numbers")


def same_length(where: str, name: str, values: np.ndarray, n_rows: int) -> None:
    """Refuse values with another number of rows than X."""
    found = values.shape[0] if values.ndim else "a single value"
    if found != n_rows:
        raise InputError(
            where,
            f"{name} with {counted(n_rows, 'row')}, as X has",
            f"{found}",
            "pass one entry for each row of X",
        )


def rows(
    where: str,
    X: Any,
    y: Any,
    sample_weight: Any,
    n_columns: int | None,
    dtype: np.dtype,
    search: bool = True,
) -> tuple[Any, np.ndarray]:
    """X (searched for nan or not) and the sample weights, for a y of the same length."""
    X = matrix(where, "X", X, n_columns, search)
    same_length(where, "y", array(where, "y", y), X.shape[0])
    return X, sample_weights(where, sample_weight, X.shape[0], dtype)


def sample_weights(where: str, value: Any, n_rows: int, dtype: np.dtype) -> np.ndarray:
    """Weights (n_rows,), finite, none negative, not all zero; an empty array if None."""
    if value is None:
        return np.empty(0, dtype)
    weights = weights_of(where, value, n_rows, dtype)
    some_weight(where, weights)
    return weights


def weights_of(where: str, value: Any, n_rows: int, dtype: np.dtype) -> np.ndarray:
    """As `sample_weights`, for rows of which all may weigh nothing."""
    weights = numeric(where, "sample_weight", array(where, "sample_weight", value))
    if weights.ndim != 1:
        raise InputError(
            where,
            f"sample_weight of shape ({n_rows},)",
            _shape(weights),
            "pass one weight for each row of X",
        )
    same_length(where, "sample_weight", weights, n_rows)
    finite(where, "sample_weight", weights)
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        raise InputError(
            where,
            "sample_weight of at least 0",
            f"a negative one in row {row}",
            "weights count how often a row is seen",
        )
    return converted(where, "sample_weight", weights, dtype)


def some_weight(where: str, weights: np.ndarray) -> None:
    """Refuse weights that are all zero, or too small for the type."""
    if not (weights > 0).any():
        raise InputError(where, "some sample_weight above 0", "only zeros", "give rows a weight")


def float_type(where: str, value: Any) -> np.dtype:
    """float32 or float64."""
    try:
        dtype = None if value is None else np.dtype(value)  # to NumPy, None would mean float64
    except (TypeError, ValueError):
        dtype = None
    if dtype not in (np.float32, np.float64) or dtype is None:
        shown = repr(value) if isinstance(value, str) else getattr(value, "__name__", str(value))
        raise InputError(where, "dtype float32 or float64", shown, "use one of the two")
    return dtype


def compute_type(dtype: np.dtype) -> np.dtype:
    """The type to compute in if only the data decide: float32 for float16, float64 for integers."""
    return np.result_type(dtype, np.float32) if dtype.kind == "f" else np.dtype(np.float64)


def seed(where: str, random_state: Any) -> int:
    """A seed below 2^63 from None (a new one each time), an int or a NumPy generator."""
    if random_state is None:
        return int(np.random.default_rng().integers(2**63))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return whole_number(where, "random_state", random_state, 0) % 2**63
