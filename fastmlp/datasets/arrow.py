"""Tables in Parquet, Arrow or CSV files of any size, by pyarrow.

Parquet is read by row groups, a few thousand rows at a time; any other file is a single part.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import FileError, InputError, InputTypeError, require
from ..io.files import as_path
from .blocks import BLOCK_ROWS, Block, Part
from .chunks import npz_table
from .reading import check_known, reading
from .stored import StoredTable, check_window_rows
from .target import check_dropped

FORMATS = {
    ".parquet": "parquet", ".arrow": "ipc", ".feather": "ipc", ".csv": "csv", ".csv.gz": "csv",
    ".tsv": "tsv", ".tsv.gz": "tsv",
}  # fmt: skip
_ENDS = 1 << 16  # bytes at either end of a file by which it is recognised
_BUFFER = 1 << 16  # bytes of each column that are read from a file at once


def open_table(
    paths: Any,
    target: str | Sequence[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    filter: Any = None,
    sample_weight: str | None = None,
    window_rows: int | None = None,
) -> StoredTable:
    """Open a table of any size; only its column names and numbers of rows are read now.

    Parameters
    ----------
    paths : str, path, list of them, or pyarrow.dataset.Dataset
        A file, a folder or a pattern such as ``"folder/*.parquet"``: Parquet, Arrow (`.arrow`,
        `.feather`), CSV or TSV, all of one kind, or one `.npz` file with the arrays X and `target`.
    target : str or sequence of str, optional
        The column to predict, or several of numbers; needed for training.
    columns : sequence of str, optional
        The features, which must be numbers or booleans; by default all columns but the target and
        the weights.
    drop : sequence of str, default ()
        Columns that are no features.
    filter : pyarrow.compute.Expression, optional
        Which rows are used, for example ``pyarrow.dataset.field("year") > 2020``. Then one row
        group at a time is held in memory.
    sample_weight : str, optional
        The column with the weights of the rows.
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
        A column does not exist or does not hold numbers, or no row is left.
    FileError
        A file is missing, damaged, or of another kind.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pyarrow as pa, pyarrow.parquet as pq
    >>> from fastmlp import Dense, Network
    >>> from fastmlp.datasets import open_table
    >>> folder, size = tempfile.mkdtemp(), np.linspace(0, 1, 1000)
    >>> pq.write_table(pa.table({"size": size, "price": 3 * size}), f"{folder}/houses.parquet")
    >>> table = open_table(f"{folder}/*.parquet", target="price", window_rows=256)
    >>> table
    ArrowTable(1000 rows, 1 features)
    >>> net = Network([Dense(1)], loss="mse")
    >>> net.fit(table, optimizer="sgd", epochs=60).epochs
    60
    >>> net.predict(table).shape
    (1000,)
    """
    where = "open_table"
    window_rows = check_window_rows(where, window_rows)
    files = [] if hasattr(paths, "get_fragments") else _files(where, paths)
    if any(name.lower().endswith(".npz") for name in files):
        options = {
            "columns": columns,
            "drop": drop or None,
            "filter": filter,
            "sample_weight": sample_weight,
        }
        given = [name for name, value in options.items() if value is not None]
        if len(files) > 1 or given:
            got = f"{len(files)} files" if len(files) > 1 else " and ".join(given)
            raise InputError(where, "one npz file without other options", got, "leave them out")
        return npz_table(Path(files[0]), target, window_rows)
    source: Any = _dataset(where, files) if files else paths
    if not hasattr(source, "files"):
        got = type(source).__name__
        raise InputTypeError(where, "a data set of files", got, "open its parts one by one")
    place = files[0] if files else where
    named = _chosen(place, source.schema, target, columns, drop, sample_weight)
    return ArrowTable(_Source(source, place, filter), named, window_rows)


def _files(where: str, paths: Any) -> list[str]:
    """Names of the files that exist, in alphabetical order where a pattern or a folder is given."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if not isinstance(paths, Iterable):
        raise InputTypeError(where, "paths", type(paths).__name__, "pass text or paths")
    found = list[str]()
    for given in paths:
        path = as_path(where, given)
        text = str(path)
        if path.is_dir():
            found += sorted(str(p) for p in path.rglob("*") if _kind_of(p.name))
        elif path.exists() or not glob.has_magic(text):
            found.append(text)
        else:
            found += sorted(glob.glob(text, recursive=True))
        if not found or not os.path.exists(found[-1]):
            got, advice = "no such file", "check the path"
            if path.is_dir():
                got, advice = "a folder without any", f"use one of {', '.join(FORMATS)}"
            raise FileError(text, "files of a table", got, advice)
    return found


def _kind_of(name: str) -> str:
    """A format by the suffix, or nothing."""
    return next((kind for end, kind in FORMATS.items() if name.lower().endswith(end)), "")


def _dataset(where: str, files: list[str]) -> Any:
    require("pyarrow", where)
    from pyarrow import csv, dataset

    kinds = sorted({_kind_of(name) for name in files})
    if kinds[0] == "" or len(kinds) > 1:
        got = "files of other kinds" if "" in kinds else " and ".join(kinds)
        advice = f"use one of {', '.join(FORMATS)}"
        raise FileError(files[0], "files of one kind of table", got, advice)
    for name in files:
        if os.path.getsize(name) == 0:
            raise FileError(name, "a table", "an empty file", "write the table again")
    kind: Any = kinds[0]
    if kind == "tsv":
        kind = dataset.CsvFileFormat(csv.ParseOptions(delimiter="\t"))
    with reading(Path(files[0]), kinds[0]):
        return dataset.dataset(files, format=kind)


class _Source(NamedTuple):
    """A pyarrow data set, what to call it in errors, and which of its rows are used."""

    dataset: Any
    place: str
    filter: Any


class _Named(NamedTuple):
    """Columns by their use."""

    features: tuple[str, ...]
    targets: tuple[str, ...]
    weights: str | None
    is_flat: bool  # whether y has one dimension


def _chosen(
    place: str,
    schema: Any,
    target: Any,
    columns: Sequence[str] | None,
    drop: Sequence[str],
    weights: str | None,
) -> _Named:
    """Check the names and types of columns."""
    targets = () if target is None else (target,) if isinstance(target, str) else tuple(target)
    known, others = list(schema.names), {*targets, weights}
    columns = [columns] if isinstance(columns, str) else columns
    features = [name for name in columns or known if name not in drop]
    features = [name for name in features if columns is not None or name not in others]
    for name in (*targets, *drop, *features, *([weights] if weights is not None else [])):
        check_known(Path(place), "a column", name, known)
    check_dropped(place, targets, drop)
    both = [name for name in features if name in others]
    if both or len(set(features)) < len(features) or not features:
        got = f"{both[0]!r} for both" if both else "one twice" if features else "none"
        advice = "change columns" if columns is not None else "add features, or drop fewer columns"
        raise InputError(place, "feature columns beside target and weights", got, advice)
    numbers = [*features, *([weights] if weights is not None else [])]
    numbers += targets if len(targets) > 1 else []
    _check_numbers(place, schema, numbers)
    return _Named(tuple(features), targets, weights, target is None or isinstance(target, str))


def _check_numbers(place: str, schema: Any, names: Sequence[str]) -> None:
    """Refuse columns that do not hold numbers."""
    from pyarrow import types

    if all(types.is_null(field.type) for field in schema):
        raise InputError(place, "at least one row", "none", "add rows below the header")
    wrong = [name for name in names if not _is_number(schema.field(name).type)]
    if wrong:
        listed = ", ".join(f"{name!r} ({schema.field(name).type})" for name in wrong[:10])
        raise InputTypeError(
            place, "columns of numbers", listed,
            "write them as numbers, or leave them out (--drop, or drop in Python)",
        )  # fmt: skip


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    tests = types.is_integer, types.is_floating, types.is_boolean, types.is_decimal
    return any(test(kind) for test in tests)


class _Group(NamedTuple):
    """A row group, or a file of another format."""

    fragment: Any
    number: int | None  # of the row group in its file


class ArrowTable(StoredTable):
    """A table that pyarrow reads; `open_table` makes it.

    Parameters
    ----------
    source : _Source
    named : _Named
    window_rows : int or None
    groups : list of (Part, _Group), optional
        What `source` consists of, if that is known.
    """

    def __init__(
        self,
        source: _Source,
        named: _Named,
        window_rows: int | None,
        groups: list[tuple[Part, _Group]] | None = None,
    ) -> None:
        self._source, self._named = source, named
        self._groups = list(_groups(source)) if groups is None else groups
        if not self._groups:
            got = "none" if source.filter is None else "none that passes the filter"
            raise InputError(source.place, "at least one row", got, "check files and filter")
        parts = [part for part, _ in self._groups]
        super().__init__(parts, len(named.features), window_rows, named.features)
        self.has_targets, self.has_weights = bool(named.targets), named.weights is not None
        self.n_targets = None if named.is_flat else len(named.targets)

    def in_order(self, names: tuple[str, ...]) -> StoredTable:
        """As `StoredTable` says; the numbers of rows are not read again."""
        named = self._named._replace(features=names)
        return ArrowTable(self._source, named, self.window_rows, self._groups)

    def identity(self) -> str:
        """As `StoredTable` says: by names, rows, columns, and both ends of each file."""
        digest = hashlib.blake2b(digest_size=16)
        told = self._named, self.window_rows, str(self._source.filter), self.parts
        digest.update(repr(told).encode())
        for fragment in {group.fragment.path: group.fragment for _, group in self._groups}.values():
            with reading(Path(fragment.path), "table"), fragment.open() as file:
                digest.update(file.read(_ENDS))
                if file.seekable():
                    file.seek(max(0, file.size() - _ENDS))
                    digest.update(file.read(_ENDS))
        return digest.hexdigest()

    def blocks(self, part: int, features: bool = True, targets: bool = True) -> Iterator[Block]:
        """As `StoredTable` says."""
        (place, _), group = self._groups[part]
        named, first = self._named, 0
        names = [*(named.features if features else ())]
        if targets:
            names += [*named.targets, *([named.weights] if named.weights is not None else [])]
        for batch in self._batches(group, names):
            cells = _Cells(batch, place, first)
            yield Block(
                place, first, batch.num_rows,
                [cells.numbers(name) for name in named.features] if features else None,
                self._targets(cells) if targets and named.targets else None,
                cells.numbers(named.weights) if targets and named.weights is not None else None,
                named.features,
            )  # fmt: skip
            first += batch.num_rows
        _return_memory()

    def _targets(self, cells: _Cells) -> np.ndarray:
        if self._named.is_flat:
            return cells.values(self._named.targets[0])
        return np.column_stack([cells.numbers(name) for name in self._named.targets])

    def _batches(self, group: _Group, names: list[str]) -> Iterator[Any]:
        """The rows of a row group or file; pyarrow's threads would take cores from training."""
        from pyarrow import dataset, parquet

        fragment, source = group.fragment, self._source
        own = [] if group.number is None else fragment.physical_schema.names
        with reading(Path(fragment.path), "table"):
            if source.filter is None and group.number is not None and set(names) <= set(own):
                # pyarrow's data sets would decode whole row groups, several at a time.
                with fragment.open() as opened:
                    file = parquet.ParquetFile(
                        opened, metadata=fragment.metadata, pre_buffer=False, buffer_size=_BUFFER
                    )
                    yield from file.iter_batches(
                        BLOCK_ROWS, row_groups=[group.number], columns=names, use_threads=False
                    )
                return
            options: dict[str, Any] = {}
            if group.number is not None:
                options["fragment_scan_options"] = dataset.ParquetFragmentScanOptions(
                    pre_buffer=False, use_buffered_stream=True, buffer_size=_BUFFER
                )
            for batch in fragment.to_batches(
                source.dataset.schema, columns=names, filter=source.filter, batch_size=BLOCK_ROWS,
                batch_readahead=0, fragment_readahead=0, use_threads=False, **options,
            ):  # fmt: skip
                if batch.num_rows:
                    yield batch


def _return_memory() -> None:
    """Return to the system the memory that pyarrow keeps for later, often as much as it uses."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def _groups(source: _Source) -> Iterator[tuple[Part, _Group]]:
    """Row groups and files in which rows are used, with how many these are."""
    for fragment in source.dataset.get_fragments():
        name = os.path.basename(fragment.path)
        with reading(Path(fragment.path), "table"):
            if not hasattr(fragment, "row_groups"):
                n_rows = fragment.count_rows(filter=source.filter)
                found = [(Part(name, n_rows), _Group(fragment, None))]
            else:
                found = [
                    (Part(f"{name}, row group {group.id}", n_rows), _Group(piece, group.id))
                    for piece in fragment.split_by_row_group(source.filter, source.dataset.schema)
                    for group in piece.row_groups
                    for n_rows in [_rows_of(piece, group, source.filter)]
                ]
        yield from (entry for entry in found if entry[0].n_rows)


def _rows_of(fragment: Any, group: Any, filter: Any) -> int:
    return int(group.num_rows if filter is None else fragment.count_rows(filter=filter))


class _Cells(NamedTuple):
    """Columns of some rows as arrays, without gaps."""

    batch: Any
    place: str
    first_row: int

    def values(self, name: str) -> np.ndarray:
        """Numbers, texts or other labels."""
        from pyarrow import types

        column = self.batch.column(name)
        if column.null_count:
            row = self.first_row + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise InputError(
                self.place, f"a value in every row of column {name!r}", f"a gap in row {row}",
                "fill it in, or leave the row out with filter=",
            )  # fmt: skip
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if types.is_decimal(column.type):
            column = column.cast("float64")
        return column.to_numpy(zero_copy_only=False)

    def numbers(self, name: str) -> np.ndarray:
        """Numbers or booleans."""
        found = self.values(name)
        if found.dtype.kind not in "biuf":  # in a later file
            raise InputTypeError(
                self.place, f"numbers in column {name!r}", f"dtype {found.dtype}",
                "write it as numbers in all files",
            )  # fmt: skip
        return found
