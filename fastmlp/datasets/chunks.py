"""Arrays on disk and streams of chunks as stored tables.

Arrays are read in slices, which can be visited in any order; streams always from the beginning.
"""

from __future__ import annotations

import hashlib
import mmap
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import FileError, InputError, InputTypeError, counted
from .blocks import BLOCK_ROWS, Block, Part
from .reading import check_known, reading
from .stored import StoredTable, check_window_rows, window_rows_for

_PARTS_PER_WINDOW = 16
_CHUNK_BYTES = 1 << 20


def open_arrays(
    X: Any, y: Any = None, *, sample_weight: Any = None, window_rows: int | None = None
) -> StoredTable:
    """A table of arrays that need not be in memory, such as memory maps.

    Parameters
    ----------
    X : array of shape (n, n_features)
        For example ``numpy.load("X.npy", mmap_mode="r")``; read in slices, in a new order each
        epoch.
    y : array of shape (n,) or (n, n_targets), optional
        Targets; needed for training.
    sample_weight : array of shape (n,), optional
        Weights of the rows.
    window_rows : int, optional
        Rows that training holds and shuffles at a time; by default as many as 32 MiB hold in
        float32.

    Returns
    -------
    StoredTable
        For `fit`, `predict` and `score` of `Network`, `MLPClassifier` and `MLPRegressor`.

    Raises
    ------
    InputError
        For arrays that are not numbers or do not have the same number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.datasets import open_arrays
    >>> open_arrays(np.zeros((1000, 3)), np.zeros(1000))
    ArrayTable(1000 rows, 3 features)
    """
    where = "open_arrays"
    window_rows = check_window_rows(where, window_rows)
    for name, array, dims in (
        ("X", X, (2,)),
        ("y", y, (1, 2)),
        ("sample_weight", sample_weight, (1,)),
    ):
        if array is None and name != "X":
            continue
        if not isinstance(array, np.ndarray) or array.ndim not in dims or not array.size:
            got = f"shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            shape = "(n, n_features)" if name == "X" else "(n,)"
            advice = "open it with numpy.load(path, mmap_mode='r')"
            raise InputError(where, f"{name} as an array of shape {shape} with rows", got, advice)
        if len(array) != len(X):
            expected = f"{name} with {counted(len(X), 'row')}, as X has"
            raise InputError(where, expected, str(len(array)), "pass one entry for each row of X")
        if name != "y" and array.dtype.kind not in "biuf":
            raise InputTypeError(where, f"numbers in {name}", f"dtype {array.dtype}", "convert it")
    return ArrayTable(X, y, sample_weight, window_rows)


class ArrayTable(StoredTable):
    """A table of arrays; `open_arrays` makes it.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    y : ndarray of shape (n,) or (n, n_targets), or None
    weights : ndarray of shape (n,), or None
    window_rows : int or None
    """

    def __init__(
        self, X: np.ndarray, y: np.ndarray | None, weights: np.ndarray | None,
        window_rows: int | None,
    ) -> None:  # fmt: skip
        n_rows, n_features = X.shape
        self._arrays = X, y, weights
        window = window_rows or window_rows_for(n_features)
        self._size = max(1, window // _PARTS_PER_WINDOW)
        starts = range(0, n_rows, self._size)
        parts = [Part(f"X from row {s}", min(self._size, n_rows - s)) for s in starts]
        super().__init__(parts, n_features, window)
        self.has_targets, self.has_weights = y is not None, weights is not None
        self.n_targets = y.shape[1] if y is not None and y.ndim == 2 else None

    def blocks(self, part: int, features: bool = True, targets: bool = True) -> Iterator[Block]:
        """As `StoredTable` says."""
        place, n_rows = self.parts[part]
        for first in range(0, n_rows, BLOCK_ROWS):
            start = part * self._size + first
            rows = slice(start, part * self._size + min(n_rows, first + BLOCK_ROWS))
            X, y, weights = (None if array is None else array[rows] for array in self._arrays)
            yield Block(
                place, first, rows.stop - start, X if features else None,
                y if targets else None, weights if targets else None,
            )  # fmt: skip
        for array in self._arrays:
            _let_go(array)

    def identity(self) -> str:
        """As `StoredTable` says: by shapes, types, and the first and last rows."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(str(self.window_rows).encode())
        for array in self._arrays:
            if array is not None:
                digest.update(repr((array.shape, array.dtype.str)).encode())
                for rows in (array[:BLOCK_ROWS], array[-BLOCK_ROWS:]):
                    digest.update(np.ascontiguousarray(rows).tobytes())
        return digest.hexdigest()


def _let_go(array: np.ndarray | None) -> None:
    """Tell the system that the pages of a read-only memory map need not stay in memory."""
    owner = getattr(array, "base", None)
    if isinstance(owner, mmap.mmap) and getattr(array, "mode", "") == "r":
        advice = getattr(mmap, "MADV_DONTNEED", None)
        if advice is not None:
            owner.madvise(advice)


def open_chunks(chunks: Any, *, window_rows: int | None = None) -> StoredTable:
    """A table that comes in chunks from anywhere; they are counted once now.

    Parameters
    ----------
    chunks : iterable, or callable that returns one
        What yields the same tuples (X, y) or (X, y, sample_weight) of arrays each time it is gone
        through. They are always read in this order and shuffled only within windows.
    window_rows : int, optional
        Rows that training holds and shuffles at a time; by default as many as 32 MiB hold in
        float32.

    Returns
    -------
    StoredTable
        For `fit`, `predict` and `score` of `Network`, `MLPClassifier` and `MLPRegressor`.

    Raises
    ------
    InputError
        For something that can be gone through only once, and for chunks of another form.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.datasets import open_chunks
    >>> def chunks():
    ...     for seed in range(4):
    ...         X = np.random.default_rng(seed).normal(size=(500, 2))
    ...         yield X, X[:, 0] * X[:, 1]
    >>> open_chunks(chunks)
    ChunkTable(2000 rows, 2 features)
    """
    where = "open_chunks"
    window_rows = check_window_rows(where, window_rows)
    if isinstance(chunks, Iterator):
        raise InputTypeError(
            where, "chunks that can be gone through again and again", type(chunks).__name__,
            "pass the function that makes it",
        )  # fmt: skip
    if not callable(chunks) and not isinstance(chunks, Iterable):
        got = type(chunks).__name__
        raise InputTypeError(where, "an iterable of (X, y)", got, "pass a list or a function")
    return ChunkTable(chunks if callable(chunks) else chunks.__iter__, "chunks", window_rows)


class ChunkTable(StoredTable):
    """A table that comes in chunks; `open_chunks` and `open_table` make it.

    Parameters
    ----------
    make : callable
        Returns what yields the chunks.
    place : str
        What to call them in errors.
    window_rows : int or None
    """

    def __init__(
        self, make: Callable[[], Iterable[Any]], place: str, window_rows: int | None
    ) -> None:
        self._make, digest, n_rows = make, hashlib.blake2b(digest_size=16), 0
        chunk: _Chunk | None = None
        for number, given in enumerate(make()):
            chunk = _checked(f"{place}, chunk {number}", given, chunk)
            n_rows += len(chunk.X)
            for array in chunk:
                if array is not None and array.dtype != object:
                    digest.update(np.ascontiguousarray(array).tobytes())
        if chunk is None:
            raise InputError(place, "at least one chunk", "none", "check what yields them")
        super().__init__([Part(place, n_rows)], chunk.X.shape[1], window_rows)
        digest.update(str(self.window_rows).encode())
        self._identity, self.has_weights = digest.hexdigest(), chunk.weights is not None
        self.n_targets = chunk.y.shape[1] if chunk.y.ndim == 2 else None

    def blocks(self, part: int, features: bool = True, targets: bool = True) -> Iterator[Block]:
        """As `StoredTable` says."""
        ((place, _),), first = self.parts, 0
        for X, y, weights in map(_chunk_of, self._make()):
            yield Block(
                place, first, len(X), X if features else None, y if targets else None,
                weights if targets else None,
            )  # fmt: skip
            first += len(X)

    def identity(self) -> str:
        """As `StoredTable` says: by all chunks, which were read when they were counted."""
        return self._identity


class _Chunk(NamedTuple):
    """The arrays of a chunk."""

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None


def _chunk_of(given: Any) -> _Chunk:
    return _Chunk(*map(np.asarray, given))


def _checked(where: str, given: Any, before: _Chunk | None) -> _Chunk:
    """The arrays of a chunk, which must be like those of the one before."""
    if not isinstance(given, tuple) or len(given) not in (2, 3):
        got = f"{len(given)} items" if isinstance(given, tuple) else type(given).__name__
        raise InputError(where, "a tuple (X, y) or (X, y, sample_weight)", got, "yield tuples")
    X, y, weights = chunk = _chunk_of(given)
    shapes = " and ".join(str(array.shape) for array in chunk if array is not None)
    if X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y) or not X.size:
        raise InputError(
            where, "X of shape (n, n_features) and as many rows of y", shapes, "change their shape"
        )
    if X.dtype.kind not in "biuf":
        raise InputTypeError(where, "numbers in X", f"dtype {X.dtype}", "convert it")
    if weights is not None and weights.shape != (len(X),):
        raise InputError(where, "one sample_weight for each row", shapes, "change its shape")
    if before is not None and _form(chunk) != _form(before):
        raise InputError(where, "arrays shaped as in the chunk before", shapes, "make them so")
    return chunk


def _form(chunk: _Chunk) -> tuple[Any, ...]:
    return chunk.X.shape[1:], chunk.y.shape[1:], chunk.weights is None


def npz_table(
    file: Path, target: str | Sequence[str] | None, window_rows: int | None
) -> StoredTable:
    """The arrays X and `target` of an npz file, compressed or not, as chunks.

    Parameters
    ----------
    file : Path
    target : str or None
        The array to predict.
    window_rows : int or None

    Returns
    -------
    ChunkTable
    """
    if not isinstance(target, str):
        got = "none" if target is None else type(target).__name__
        raise InputError(str(file), "the name of one array as target", got, "name one")
    return ChunkTable(lambda: _unzipped(file, ("X", target)), file.name, window_rows)


def _unzipped(file: Path, names: tuple[str, str]) -> Iterator[tuple[np.ndarray, ...]]:
    """Arrays of an npz file, some rows at a time."""
    with reading(file, "npz"), ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(file))
        known = [name.removesuffix(".npy") for name in archive.namelist()]
        for name in names:
            check_known(file, "an array", name, known)
        streams = [stack.enter_context(archive.open(f"{name}.npy")) for name in names]
        headers = [_header(file, stream) for stream in streams]
        (shape, dtype), n_rows = headers[0], headers[0][0][0]
        size = max(1, _CHUNK_BYTES // max(1, dtype.itemsize * int(np.prod(shape[1:]))))
        for start in range(0, n_rows, size):
            n = min(size, n_rows - start)
            yield tuple(
                _next(stream, n, *header) for stream, header in zip(streams, headers, strict=True)
            )


def _header(file: Path, stream: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array that follows."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0
    shape, fortran, dtype = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(
        stream
    )
    if (fortran and len(shape) > 1) or dtype.hasobject or not shape:
        got = "an array of objects" if dtype.hasobject else "columns or a single number"
        raise FileError(str(file), "arrays stored by rows", got, "save numpy.ascontiguousarray(X)")
    return shape, dtype


def _next(stream: Any, n_rows: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    n_bytes = n_rows * int(np.prod(shape[1:])) * dtype.itemsize
    return np.frombuffer(stream.read(n_bytes), dtype).reshape(-1, *shape[1:])
