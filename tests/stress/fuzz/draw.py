"""What a case is given: rows, targets, weights and options, most of them with one thing unusual.

Everything unusual has a label, by which `differences` knows where an answer may differ from
scikit-learn's. Without a label it must be the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from .. import guarded

Rng = np.random.Generator


class Drawn(NamedTuple):
    """A value, what is unusual about it, and the same value as plain arrays for the other side."""

    value: Any
    label: str = ""
    plain: Any = None


def one_of(rng: Rng, *choices: Any) -> Any:
    """One of them, with equal chances."""
    return choices[int(rng.integers(len(choices)))]


def chance(rng: Rng, share: float) -> bool:
    return bool(rng.random() < share)


def plain(value: Any) -> Any:
    """The same numbers in memory of its own, for another library."""
    with guarded.no_arrays():
        if isinstance(value, np.ndarray):
            return np.array(value, copy=True, order="C", subok=True)
        if sparse.issparse(value) and value.format in ("csr", "csc"):
            parts = tuple(np.array(part) for part in (value.data, value.indices, value.indptr))
            return type(value)(parts, shape=value.shape)
        return value.copy() if sparse.issparse(value) else value


def fingerprint(value: Any) -> Any:
    """What must be the same before and after a call that was given a value."""
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject or value.dtype.kind == "T":
            return repr(value.tolist())
        flags = value.flags.writeable, value.shape, value.strides, value.dtype.str
        return flags, hashlib.sha1(value.tobytes()).digest()
    if sparse.issparse(value) and value.format in ("csr", "csc"):
        # SciPy's own check cuts off memory that is not used, and shortens types of places.
        n = max(0, int(value.indptr[-1]))
        return [
            part.tobytes()
            for part in (value.data[:n], np.int64(value.indices[:n]), np.int64(value.indptr))
        ]
    if sparse.issparse(value) and value.format == "coo":
        return [part.tobytes() for part in (value.data, value.row, value.col)]
    if sparse.issparse(value):
        return fingerprint(value.toarray())
    return repr(value) if isinstance(value, list | dict | str | float | int | None) else None


def mapped(rng: Rng, values: np.ndarray, folder: Path, mode: str) -> np.ndarray:
    """The array in a file, as joblib hands large arrays to its workers."""
    path = folder / f"mapped{int(rng.integers(1 << 30))}.npy"
    np.save(path, values)
    found: np.ndarray = np.load(path, mmap_mode=mode)
    return found


def unaligned(values: np.ndarray) -> np.ndarray:
    """The array one byte behind where its numbers should be."""
    memory = np.empty(values.nbytes + 1, np.uint8)
    found = memory[1:].view(values.dtype).reshape(values.shape)
    found[...] = values
    return found


def layout(rng: Rng, values: np.ndarray, folder: Path) -> Drawn:
    """The same numbers in another order, place or type; nothing that changes an answer."""
    kind = one_of(
        rng, "C", "C", "F", "strided", "columns", "negative", "read-only", "read-only F", "mmap r",
        "mmap c", "swapped", "unaligned", "list", "view", "subclass",
    )  # fmt: skip
    if kind == "F":
        found: Any = np.asfortranarray(values)
    elif kind == "strided":
        found = np.repeat(values, 3, axis=0)[::3]
    elif kind == "columns" and values.ndim == 2:
        found = np.repeat(values, 2, axis=1)[:, ::2]
    elif kind == "negative":
        found = values[::-1].copy()[::-1]
    elif kind == "read-only":
        found = guarded.read_only(values)
    elif kind == "read-only F":
        found = guarded.read_only(np.asfortranarray(values))
    elif kind.startswith("mmap"):
        found = mapped(rng, values, folder, kind[-1])
    elif kind == "swapped" and values.dtype.kind in "iuf":
        found = values.astype(values.dtype.newbyteorder())
        return Drawn(found, f"layout: {kind}", values)
    elif kind == "unaligned" and not values.dtype.hasobject:
        found = unaligned(values)
    elif kind == "list":
        return Drawn(values.tolist(), "layout: list", np.array(values.tolist()))
    elif kind == "view":
        found = np.concatenate([values, values])[: len(values)]
    elif kind == "subclass":
        found = np.array(values).view(np.recarray) if values.dtype.names else values.copy()
    else:
        found = values.copy()
    return Drawn(found, "", values)


def sparse_rows(rng: Rng, values: np.ndarray) -> Drawn:
    """The same numbers in a sparse matrix, in every state that SciPy lets one be in."""
    made = one_of(rng, sparse.csr_matrix, sparse.csr_array)(values)
    kind = one_of(
        rng, "csr", "csr", "csc", "coo", "lil", "unsorted", "duplicates", "zeros", "int64",
        "read-only", "longer",
    )  # fmt: skip
    if kind in ("csc", "coo", "lil"):
        return Drawn(made.asformat(kind), "", values)
    if kind == "unsorted":
        for start, end in zip(made.indptr, made.indptr[1:], strict=False):
            made.indices[start:end] = made.indices[start:end][::-1].copy()
            made.data[start:end] = made.data[start:end][::-1].copy()
        made = type(made)((made.data, made.indices, made.indptr), shape=made.shape)
    elif kind == "duplicates":
        indptr = 2 * made.indptr
        made = type(made)(
            (np.repeat(made.data / 2, 2), np.repeat(made.indices, 2), indptr), shape=made.shape
        )
    elif kind == "zeros":
        made = type(made)(sparse.csr_matrix(np.ones_like(values)))
        made.data[...] = values.ravel()
    elif kind == "int64":
        parts = made.data, made.indices.astype(np.int64), made.indptr.astype(np.int64)
        made.data, made.indices, made.indptr = parts
    elif kind == "read-only":
        made.data, made.indices, made.indptr = (
            guarded.read_only(part) for part in (made.data, made.indices, made.indptr)
        )
    elif kind == "longer":  # more memory than is used, as after some products
        made.data = np.concatenate([made.data, [7.0]]).astype(made.dtype)
        made.indices = np.concatenate([made.indices, [0]]).astype(made.indices.dtype)
    return Drawn(made, "", values)


def broken_sparse(rng: Rng, values: np.ndarray) -> Drawn:
    """A sparse matrix whose places do not fit its shape: other libraries may crash on it."""
    form = one_of(rng, "csr", "csr", "csr", "csc", "coo")
    made = one_of(rng, sparse.csr_matrix, sparse.csr_array)(values).asformat(form)
    n_columns = values.shape[1] if form == "csr" else values.shape[0]
    if form == "coo":
        made.col[rng.integers(made.col.size)] = one_of(rng, -1, values.shape[1], 10**6)
        return Drawn(made, "sparse: places outside")
    kind = one_of(rng, "outside", "outside", "outside", "indptr", "falling", "short", "wide")
    if kind == "outside" and made.indices.size:
        place = rng.integers(made.indices.size)
        made.indices[place] = one_of(rng, -1, n_columns, n_columns + 1, 10**6, -(2**31), 2**31 - 1)
    elif kind == "indptr":
        made.indptr[-1] += one_of(rng, 1, 1000, 10**8)
    elif kind == "falling":
        made.indptr[len(made.indptr) // 2] = one_of(rng, -5, 10**6)
    elif kind == "short":
        made.indices = made.indices[:-1].copy()
    else:
        made.indices = made.indices.astype(np.int64)
        if made.indices.size:
            made.indices[0] = 2**32  # 0 once it is taken for an int32
    return Drawn(made, "sparse: places outside")


def rows(rng: Rng, values: np.ndarray, folder: Path, spoil: float = 0.3) -> Drawn:
    """Rows that hold `values`, or in a part of all cases something else or wrong."""
    if not chance(rng, spoil):
        if values.dtype == np.float64 and chance(rng, 0.25):
            return sparse_rows(rng, values * (rng.random(values.shape) < 0.5))
        return layout(rng, values, folder)
    n, d = values.shape
    if chance(rng, 0.25):
        return broken_sparse(rng, values)
    spoilt, holes = values.copy(), sparse.csr_matrix(values)
    spoilt[rng.integers(n), rng.integers(d)] = one_of(rng, np.nan, np.inf, -np.inf)
    holes.data[0] = np.nan
    return one_of(
        rng,
        Drawn(spoilt, "X: not finite"), Drawn(holes, "X: not finite"),
        Drawn(values * 1e300, "X: huge"), Drawn(values * 1e30, "X: huge"),
        Drawn(values[:, :-1], "X: other width"), Drawn(np.c_[values, values], "X: other width"),
        Drawn(sparse.csr_matrix(np.c_[values, values]), "X: other width"),
        Drawn(values[:-1].copy(), "X: other length"), Drawn(values[:0], "X: empty"),
        Drawn(values[:, :0], "X: empty"), Drawn(values[0], "X: 1-d"), Drawn(values[None], "X: 3-d"),
        Drawn(values.astype(object), "X: objects", values.astype(np.float64)),
        Drawn(values.astype(str), "X: text"), Drawn(values + 1j, "X: complex"),
        Drawn(values.astype("datetime64[s]"), "X: dates"), Drawn(None, "X: none"),
        Drawn("X", "X: text"), Drawn(3.5, "X: 0-d"), Drawn([[1.0], [2.0, 3.0]], "X: ragged"),
        Drawn(np.matrix(values), "X: np.matrix", values),
        Drawn(np.ma.masked_array(values, values > 1), "X: masked"),
        Drawn(np.broadcast_to(values[:1], values.shape), "", np.repeat(values[:1], n, axis=0)),
        Drawn(np.broadcast_to(values[:, :1], values.shape), "", np.repeat(values[:, :1], d, 1)),
        Drawn(values > 0, "X: other type", (values > 0).astype(np.float64)),
        Drawn((values * 9).astype(np.int8), "X: other type", (values * 9).astype(np.int8) * 1.0),
        Drawn((values * 9).astype(np.int64), "X: other type", (values * 9).astype(np.int64) * 1.0),
        Drawn(abs(values * 9).astype(np.uint8), "X: other type",
            abs(values * 9).astype("u1") * 1.0),
        Drawn(values.astype(np.float16), "X: other type", values.astype("f2").astype(np.float64)),
        Drawn(values.astype(np.longdouble), "X: other type", values.astype(np.float64)),
        Drawn(np.float32(values), "X: float32", values.astype(np.float32)),
        Drawn(memoryview(np.ascontiguousarray(values)), "X: buffer", values),
    )  # fmt: skip


def targets(rng: Rng, values: np.ndarray, folder: Path, spoil: float = 0.2) -> Drawn:
    """Targets that hold `values`, or something else or wrong."""
    if not chance(rng, spoil):
        drawn = layout(rng, values, folder)
        if isinstance(drawn.value, list):
            return Drawn(drawn.value, "", values)
        return drawn
    n, numbers = len(values), rng.normal(size=len(values))
    spoilt = numbers.copy()
    spoilt[rng.integers(n)] = one_of(rng, np.nan, np.inf)
    kinds = (
        Drawn(spoilt, "y: not finite"), Drawn(values[:-1].copy(), "y: other length"),
        Drawn(np.concatenate([values, values]), "y: other length"), Drawn(values[:0], "y: empty"),
        Drawn(numbers, "y: numbers"), Drawn(-abs(numbers) - 1, "y: negative"),
        Drawn(values.reshape(n, -1)[:, :1].copy(), "y: column"), Drawn(None, "y: none"),
        Drawn(values.reshape(n, -1)[:, [0, 0, 0]].copy(), "y: more columns"),
        Drawn(np.zeros(n, np.int64), "y: one class"), Drawn(np.arange(n), "y: all different"),
        Drawn(np.full(n, "2020-01-01", "datetime64[D]"), "y: dates"),
        Drawn(np.full(n, "NaT", "datetime64[D]"), "y: NaT"),
        Drawn(np.arange(n).astype("m8[s]"), "y: dates"),
        Drawn(np.arange(n).astype(str), "y: text"),
        Drawn(np.array(["a", None] * n)[:n], "y: mixed"),
        Drawn(np.array(["a", 1] * n, object)[:n], "y: mixed"),
        Drawn(values.astype(object), "y: objects"),
        Drawn(numbers + 1j, "y: complex"), Drawn("y", "y: text"), Drawn(7, "y: 0-d"),
        Drawn(rng.integers(-2, 3, n).astype(np.int8), "y: other type"),
        Drawn(rng.integers(0, 3, n).astype(np.uint64), "y: other type"),
        Drawn(rng.integers(0, 2, (n, 2)), "y: several labels"),
        Drawn(sparse.csr_matrix(rng.integers(0, 2, (n, 2))), "y: sparse"),
        Drawn(rng.normal(size=(n, 2, 2)), "y: 3-d"), Drawn(numbers.astype(">f4"), "y: numbers"),
        Drawn(np.array(list("abc") * n)[:n].astype(np.dtypes.StringDType()), "y: StringDType"),
        Drawn(numbers * 1e300, "y: huge"),
    )  # fmt: skip
    return one_of(rng, *kinds)


def weights(rng: Rng, n: int, folder: Path, share: float = 0.3) -> Drawn:
    """Weights of samples: mostly none."""
    if not chance(rng, share):
        return Drawn(None)
    values = rng.random(n) + 0.1
    spoilt, negative, some = values.copy(), values.copy(), values.copy()
    spoilt[rng.integers(n)] = one_of(rng, np.nan, np.inf)
    negative[rng.integers(n)] = -1.0
    some[rng.integers(n)] = 0.0
    if chance(rng, 0.5):
        label, wanted = one_of(rng, ("", values), ("weights: some zero", some))
        drawn = layout(rng, wanted, folder)
        return Drawn(drawn.value, label, drawn.plain)
    return one_of(
        rng, Drawn(spoilt, "weights: not finite"), Drawn(negative, "weights: negative"),
        Drawn(values[:-1].copy(), "weights: other length"), Drawn(values * 0, "weights: all zero"),
        Drawn(np.concatenate([values, values]), "weights: other length"),
        Drawn(values[:, None], "weights: 2-d"), Drawn(2.0, "weights: one number"),
        Drawn(values.astype(str), "weights: text"), Drawn("balanced", "weights: text"),
        Drawn(np.arange(n) % 3 + 1, "weights: whole", np.arange(n) % 3 + 1.0),
        Drawn(values > 0.5, "weights: booleans", (values > 0.5) * 1.0),
        Drawn(values * 1e300, "weights: huge"), Drawn(values + 1j, "weights: complex"),
        Drawn(values.astype("datetime64[s]"), "weights: dates"),
        Drawn(values[:0], "weights: other length"),
        Drawn(values.astype(object), "weights: objects", values),
        Drawn(np.broadcast_to(values[:1], n), "", np.full(n, values[0])),
    )  # fmt: skip


def vector_like(rng: Rng, wanted: np.ndarray) -> Drawn:
    """An array to put where `wanted` is: as it should be, or of another length, type or access.

    The plain value is what ought to be there afterwards, if it is taken at all.
    """
    if (
        not isinstance(wanted, np.ndarray)
        or wanted.dtype not in (np.float32, np.float64)
        or wanted.size == 0
        or wanted.ndim == 0
    ):
        wanted = np.zeros(3)  # what was set before was taken
    values = rng.normal(size=wanted.shape)
    exact = values.astype(wanted.dtype)
    other = np.float64 if wanted.dtype == np.float32 else np.float32
    spoilt = exact.copy()
    spoilt.flat[0] = np.nan
    cut = exact[:-1].copy() if exact.ndim == 1 else exact[:-1, :].copy()
    more = np.concatenate([exact, exact])
    return one_of(
        rng, Drawn(exact, "", exact), Drawn(exact, "", exact), Drawn(exact, "", exact),
        Drawn(values.astype(other), "set: other float", values.astype(other)),
        Drawn(values.astype(other), "set: other float", values.astype(other)),
        Drawn(guarded.read_only(exact), "set: read-only", exact),
        Drawn(np.repeat(exact, 2, axis=0)[::2], "set: strided", exact),
        Drawn(np.asfortranarray(exact), "set: strided", exact),
        Drawn(exact[::-1].copy()[::-1], "set: strided", exact),
        Drawn(unaligned(exact), "set: strided", exact),
        Drawn(exact.astype(exact.dtype.newbyteorder()), "set: swapped bytes", exact),
        Drawn(cut, "set: other shape"), Drawn(more, "set: other shape"),
        Drawn(exact.T.copy(),
            "set: turned" if exact.ndim > 1 and len(set(exact.shape)) > 1 else "", exact.T),
        Drawn(exact.ravel().copy(), "set: flat" if exact.ndim > 1 else "", exact),
        Drawn(exact[:0], "set: other shape"), Drawn(exact[None], "set: other shape"),
        Drawn(exact.tolist(), "set: list", exact), Drawn(None, "set: nothing"),
        Drawn("W", "set: nothing"),
        Drawn(0.5, "set: one number"), Drawn(np.float64(0.5), "set: one number"),
        Drawn(np.ones(wanted.shape, np.int64), "set: whole", np.ones(wanted.shape)),
        Drawn(np.ones(wanted.shape, bool), "set: whole", np.ones(wanted.shape)),
        Drawn(exact.astype(np.float16), "set: half", exact.astype(np.float16)),
        Drawn(exact.astype(object), "set: objects", exact), Drawn(exact + 1j, "set: complex"),
        Drawn(exact.astype(str), "set: text"), Drawn(spoilt, "set: not finite", spoilt),
        Drawn(np.broadcast_to(exact[:1], exact.shape), "set: strided",
            np.repeat(exact[:1], len(exact), 0)),
        Drawn(sparse.csr_matrix(exact) if exact.ndim == 2 else exact,
            "set: sparse" if exact.ndim == 2 else "", exact),
    )  # fmt: skip
