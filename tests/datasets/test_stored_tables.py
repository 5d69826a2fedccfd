"""Stored tables: every kind of file gives the same rows, and what cannot be used is refused."""

from __future__ import annotations

import contextlib
import decimal
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp.datasets import StoredTable, open_arrays, open_chunks, open_table
from fastmlp.errors import InputError

pytestmark = pytest.mark.nojit

pa = pytest.importorskip("pyarrow")
csv = pytest.importorskip("pyarrow.csv")
dataset = pytest.importorskip("pyarrow.dataset")
feather = pytest.importorskip("pyarrow.feather")
parquet = pytest.importorskip("pyarrow.parquet")

N = 120
COLUMNS = {
    "size": np.linspace(0, 7, N),
    "rooms": np.arange(N) % 5,
    "garden": np.arange(N) % 3 == 0,
    "town": [f"town {i % 4}" for i in range(N)],
    "price": np.arange(N) * 2.5,
    "weight": np.arange(N) % 7 + 0.5,
}
FEATURES = ["size", "rooms", "garden"]
X = np.column_stack([np.asarray(COLUMNS[name], float) for name in FEATURES])


def parts(folder: Path, write: Callable[[Any, Path], Any], suffix: str) -> Path:
    """Two files of a table; returns the pattern that finds them."""
    whole = pa.table(COLUMNS)
    for number, rows in enumerate((whole.slice(0, 70), whole.slice(70))):
        write(rows, folder / f"{number}{suffix}")
    return folder / f"*{suffix}"


def write_gzip(rows: Any, path: Path) -> None:
    with gzip.open(path, "wb") as file:
        csv.write_csv(rows, file)


def write_tabs(rows: Any, path: Path) -> None:
    csv.write_csv(rows, path, csv.WriteOptions(delimiter="\t"))


def write_groups(rows: Any, path: Path) -> None:
    parquet.write_table(rows, path, row_group_size=30)


WRITERS: dict[str, Callable[[Any, Path], Any]] = {
    ".parquet": write_groups,
    ".arrow": feather.write_feather,
    ".feather": feather.write_feather,
    ".csv": csv.write_csv,
    ".csv.gz": write_gzip,
    ".tsv": write_tabs,
}


def read_all(table: StoredTable) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """All features, targets and weights."""
    blocks = [block for number in range(len(table.parts)) for block in table.blocks(number)]
    found = np.empty((table.n_rows, table.n_features))
    first = 0
    for block in blocks:
        block.write(0, found[first : first + block.n_rows])
        first += block.n_rows
    y, weights = (
        None
        if any(part is None for part in some)
        else np.concatenate([p for p in some if p is not None])
        for some in ([block.y for block in blocks], [block.weights for block in blocks])
    )
    return found, y, weights


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_rows(suffix: str, tmp_path: Path) -> None:
    pattern = parts(tmp_path, WRITERS[suffix], suffix)
    table = open_table(pattern, "price", columns=FEATURES, sample_weight="weight")
    found, y, weights = read_all(table)
    assert (found == X).all()
    assert y is not None
    assert y.tolist() == COLUMNS["price"].tolist()  # type: ignore[union-attr]
    assert weights is not None
    assert weights.tolist() == COLUMNS["weight"].tolist()  # type: ignore[union-attr]
    assert table.feature_names == tuple(FEATURES)
    assert len(table.parts) == (5 if suffix == ".parquet" else 2)
    assert repr(table) == "ArrowTable(120 rows, 3 features)"
    folder = open_table(str(tmp_path), "price", columns=FEATURES, sample_weight="weight")
    assert folder.identity() == table.identity()
    assert folder.identity() != open_table(pattern, "price", columns="size").identity()


def test_a_filter_chooses_rows_and_row_groups(tmp_path: Path) -> None:
    pattern, wanted = parts(tmp_path, write_groups, ".parquet"), dataset.field("price") > 200
    table = open_table(pattern, "town", columns=FEATURES, filter=wanted)
    found, y, _ = read_all(table)
    chosen = COLUMNS["price"] > 200  # type: ignore[operator]
    assert (found == X[chosen]).all()
    assert y is not None
    assert y.tolist() == [COLUMNS["town"][i] for i in np.flatnonzero(chosen)]  # type: ignore[index]
    assert [part.place for part in table.parts] == [
        "1.parquet, row group 0",
        "1.parquet, row group 1",
    ]


def test_a_data_set_of_pyarrow_may_have_columns_in_the_names_of_folders(tmp_path: Path) -> None:
    rows = pa.table({"x": [1.0, 2.0, 3.0], "year": [2020, 2021, 2021], "y": [0.5, 1.5, 2.5]})
    dataset.write_dataset(
        rows, tmp_path, format="parquet",
        partitioning=dataset.partitioning(pa.schema([("year", pa.int32())]), flavor="hive"),
    )  # fmt: skip
    table = open_table(dataset.dataset(tmp_path, partitioning="hive"), "y")
    found, y, _ = read_all(table)
    assert found.tolist() == [[1, 2020], [2, 2021], [3, 2021]]
    assert y is not None
    assert y.tolist() == [0.5, 1.5, 2.5]


def test_columns_of_unusual_types_are_read(tmp_path: Path) -> None:
    rows = pa.table({
        "half": pa.array(np.array([0.5, 1.5], np.float16)),
        "price": pa.array([decimal.Decimal("1.25"), decimal.Decimal("2.5")]),
        "kind": pa.array(["a", "b"]).dictionary_encode(),
    })  # fmt: skip
    parquet.write_table(rows, tmp_path / "a.parquet")
    found, y, _ = read_all(open_table(tmp_path / "a.parquet", "kind"))
    assert found.tolist() == [[0.5, 1.25], [1.5, 2.5]]
    assert y is not None
    assert y.tolist() == ["a", "b"]


def test_several_targets_are_the_columns_of_y(tmp_path: Path) -> None:
    pattern = parts(tmp_path, write_groups, ".parquet")
    table = open_table(pattern, ["price", "rooms"], columns=["size"])
    _, y, _ = read_all(table)
    assert y is not None
    assert (y == np.column_stack([COLUMNS["price"], COLUMNS["rooms"]])).all()
    assert table.n_targets == 2


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_is_read_some_rows_at_a_time(save: Any, tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(5000, 100))
    save(tmp_path / "a.npz", X=features, y=np.arange(5000))
    table = open_table(tmp_path / "a.npz", "y")
    blocks = list(table.blocks(0))
    assert len(blocks) > 1
    found, y, _ = read_all(table)
    assert (found == features).all()
    assert y is not None
    assert y.tolist() == list(range(5000))


def test_a_memory_map_is_read_in_slices(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    table = open_arrays(mapped, np.arange(N), window_rows=64)
    assert [part.n_rows for part in table.parts] == [4] * 30
    found, _, _ = read_all(table)
    assert (found == X).all()
    assert (np.asarray(mapped) == X).all()  # pages that were let go come back
    assert table.identity() == open_arrays(X, np.arange(N), window_rows=64).identity()


def test_chunks_may_be_a_list(tmp_path: Path) -> None:
    found, y, _ = read_all(open_chunks([(X[:50], X[:50, 0]), (X[50:], X[50:, 0])]))
    assert (found == X).all()
    assert y is not None
    assert (y == X[:, 0]).all()


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_split_deals_all_rows_and_always_in_the_same_way(share: float, tmp_path: Path) -> None:
    rows = 40_000
    table = pa.table({"x": np.arange(rows), "z": np.ones(rows), "y": np.arange(rows) * 2})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=17_000)
    opened = open_table(tmp_path / "a.parquet", "y")
    tables = opened.split(share, random_state=3)
    (rest, y_rest, _), (held_out, y_held, _) = map(read_all, tables)
    assert len(held_out) == pytest.approx(share * rows, rel=0.05)
    together = np.concatenate([rest[:, 0], held_out[:, 0]])
    assert sorted(together) == list(range(rows))
    assert y_rest is not None
    assert y_held is not None
    assert (y_held == 2 * held_out[:, 0]).all()
    again = opened.in_order(("z", "x")).split(share, random_state=3)
    assert (read_all(again[1])[0][:, 1] == held_out[:, 0]).all()
    assert opened.split(share, random_state=4)[1].n_rows != tables[1].n_rows
    names = {one.identity() for one in (opened, *tables, *opened.split(share, random_state=4))}
    assert len(names) == 5


def test_a_part_can_be_split_again() -> None:
    numbers = np.arange(50_000.0)
    opened = open_arrays(numbers.reshape(-1, 1), numbers)
    rest, _ = opened.split(0.5)
    inner = [read_all(table)[0][:, 0] for table in rest.split(0.5)]
    assert sorted(np.concatenate(inner)) == read_all(rest)[0][:, 0].tolist()
    assert len(inner[0]) == pytest.approx(12_500, rel=0.1)


def test_targets_may_be_computed_too() -> None:
    table = open_arrays(X, X[:, 0]).map(lambda rows: rows, lambda y: 2 * y)
    assert (read_all(table)[1] == 2 * X[:, 0]).all()


def test_features_of_a_split_that_begins_with_an_empty_part_can_be_computed() -> None:
    for part in open_arrays(X, window_rows=1).split(0.5):
        assert part.map(lambda rows: rows[:, :2]).n_features == 2


def test_errors_of_a_split_name_the_row_in_the_file() -> None:
    bad = X.copy()
    bad[100] = np.nan
    for table in open_arrays(bad, window_rows=2000).split(0.5):
        with contextlib.suppress(InputError):
            read_all(table)
            continue
        with pytest.raises(
            InputError, match=r"X from row 0: expected .* got nan or a gap in row 100;"
        ):
            read_all(table)
        break
    else:
        pytest.fail("no error")


# Errors ---------------------------------------------------------------------------------------


def chunk_of(*arrays: Any) -> Callable[[Path], Any]:
    return lambda folder: open_chunks([(X, X[:, 0]), arrays])


def write(folder: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), folder / "a.parquet", row_group_size=2)
    return folder / "a.parquet"


def mixed(folder: Path) -> Path:
    write(folder, x=[1.0])
    csv.write_csv(pa.table({"x": [1.0]}), folder / "b.csv")
    return folder


def damaged(folder: Path) -> Path:
    (folder / "a.parquet").write_bytes(b"PAR1" * 9)
    return folder / "a.parquet"


def all_of(table: StoredTable) -> Any:
    return read_all(table)


def empty(suffix: str) -> Callable[[Path], Any]:
    """Open a file with nothing in it."""

    def opened(folder: Path) -> StoredTable:
        (folder / f"a{suffix}").touch()
        return open_table(folder / f"a{suffix}")

    return opened


def written(folder: Path, text: str) -> Path:
    """A CSV file."""
    (folder / "a.csv").write_text(text)
    return folder / "a.csv"


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no file": (
        lambda folder: open_table(folder / "*.parquet"),
        "*.parquet: expected files of a table, got no such file; check the path",
    ),
    "a folder without tables": (
        lambda folder: open_table(folder),
        ": expected files of a table, got a folder without any; use one of .parquet, .arrow, ",
    ),
    **{
        f"nothing in a {suffix}": (empty(suffix), "expected a table, got an empty file; write the")
        for suffix in (".csv", ".tsv", ".parquet", ".arrow")
    },
    "a header alone": (
        lambda folder: open_table(written(folder, "x,y\n"), "y"),
        "a.csv: expected at least one row, got none; add rows below the header",
    ),
    "a target that is dropped": (
        lambda folder: open_table(write(folder, x=[1.0], y=[1.0]), "y", drop=["y"]),
        "a.parquet: expected the target 'y' to be kept, got it among the columns to drop; "
        "leave one out",
    ),
    "no paths": (
        lambda folder: open_table(3),
        "open_table: expected paths, got int; pass text or paths",
    ),
    "two formats": (
        lambda folder: open_table(mixed(folder), "x"),
        "a.parquet: expected files of one kind of table, got csv and parquet; use one of .parquet, "
        ".arrow, .feather, .csv, .csv.gz, .tsv, .tsv.gz",
    ),
    "another format": (
        lambda folder: open_table(__file__),
        ".py: expected files of one kind of table, got files of other kinds; use one of .parquet, "
        ".arrow, .feather, .csv, .csv.gz, .tsv, .tsv.gz",
    ),
    "damaged": (
        lambda folder: open_table(damaged(folder), "x"),
        "; check that the file is whole and of this format",
    ),
    "unknown column": (
        lambda folder: open_table(write(folder, size=[1.0], y=[1.0]), "cost"),
        "a.parquet: expected a column named 'cost', got none of that name; it has size, y",
    ),
    "text": (
        lambda folder: open_table(write(folder, x=[1.0], town=["a"], y=[1.0]), "y"),
        "a.parquet: expected columns of numbers, got 'town' (string); write them as numbers, or "
        "leave them out (--drop, or drop in Python)",
    ),
    "both": (
        lambda folder: open_table(write(folder, x=[1.0], y=[1.0]), "y", columns=["x", "y"]),
        "expected feature columns beside target and weights, got 'y' for both; change columns",
    ),
    "twice": (
        lambda folder: open_table(write(folder, x=[1.0], y=[1.0]), "y", columns=["x", "x"]),
        "expected feature columns beside target and weights, got one twice; change columns",
    ),
    "only a target": (
        lambda folder: open_table(write(folder, y=[1.0]), "y"),
        "expected feature columns beside target and weights, got none; add features, or drop "
        "fewer columns",
    ),
    "no rows": (
        lambda folder: open_table(write(folder, x=pa.array([], pa.float32()))),
        "a.parquet: expected at least one row, got none; check files and filter",
    ),
    "no rows left": (
        lambda folder: open_table(write(folder, x=[1.0]), filter=dataset.field("x") > 2),
        "expected at least one row, got none that passes the filter; check files and filter",
    ),
    "a data set in memory": (
        lambda folder: open_table(dataset.dataset(pa.table({"x": [1.0]}))),
        "open_table: expected a data set of files, got InMemoryDataset; open its parts one by one",
    ),
    "window": (
        lambda folder: open_table("a.parquet", window_rows=0),
        "open_table: expected window_rows as a whole number of at least 1, got 0; choose one",
    ),
    "window of text": (
        lambda folder: open_arrays(X, window_rows="all"),  # type: ignore[arg-type]
        "open_arrays: expected window_rows as a whole number of at least 1, got str; choose one",
    ),
    "gap": (
        lambda folder: all_of(open_table(write(folder, x=[1.0, 2, 3, None, 5], y=[0] * 5), "y")),
        "a.parquet, row group 1: expected a value in every row of column 'x', got a gap in row 1; "
        "fill it in, or leave the row out with filter=",
    ),
    "nan": (
        lambda folder: all_of(open_table(write(folder, x=[1.0, 2, 3, np.nan], y=[0] * 4), "y")),
        "a.parquet, row group 1: expected finite numbers within float64 in column 'x', got nan "
        "or a gap in row 1; fill it in, or leave the row out",
    ),
    "npz with options": (
        lambda folder: open_table("a.npz", "y", columns=["x"]),
        "expected files of a table, got no such file; check the path",
    ),
    "arrays of lists": (
        lambda folder: open_arrays([[1.0]]),
        "open_arrays: expected X as an array of shape (n, n_features) with rows, got list; open it "
        "with numpy.load(path, mmap_mode='r')",
    ),
    "arrays of other lengths": (
        lambda folder: open_arrays(X, X[:7, 0]),
        "open_arrays: expected y with 120 rows, as X has, got 7; pass one entry for each row of X",
    ),
    "arrays of text": (
        lambda folder: open_arrays(X.astype(str)),
        "open_arrays: expected numbers in X, got dtype <U32; convert it",
    ),
    "a generator": (
        lambda folder: open_chunks(chunk for chunk in [(X, X[:, 0])]),
        "open_chunks: expected chunks that can be gone through again and again, got generator; "
        "pass the function that makes it",
    ),
    "a number": (
        lambda folder: open_chunks(3),
        "open_chunks: expected an iterable of (X, y), got int; pass a list or a function",
    ),
    "a map to fewer rows": (
        lambda folder: open_arrays(X).map(lambda rows: rows[1:]),
        "StoredTable.map: expected a function from 120 rows to as many rows of numbers, got shape "
        "(119, 3) and type float64; return one row for each row",
    ),
    "all rows at once": (
        lambda folder: np.asarray(open_arrays(X)),
        "ArrayTable: expected to be read a window at a time, got a use that needs all rows; train "
        "a Network, MLPClassifier or MLPRegressor, or load the rows with load_table",
    ),
    "a share": (
        lambda folder: open_arrays(X).split(1.0),
        "StoredTable.split: expected share above 0 and below 1, got 1.0; pass 0.1, say",
    ),
    "a share of no rows": (
        lambda folder: open_arrays(X).split(1e-9),
        "StoredTable.split: expected rows in both parts, got 120 and 0; change the share",
    ),
    "a seed": (
        lambda folder: open_arrays(X).split(0.1, random_state=-1),
        "StoredTable.split: expected random_state as None or a whole number from 0 to 4294967295, "
        "got -1; pass for example random_state=0",
    ),
    "no chunks": (
        lambda folder: open_chunks([]),
        "chunks: expected at least one chunk, got none; check what yields them",
    ),
    "not pairs": (
        chunk_of(X),
        "chunks, chunk 1: expected a tuple (X, y) or (X, y, sample_weight), got 1 items; yield "
        "tuples",
    ),
    "shapes": (
        chunk_of(X, X[:7, 0]),
        "chunks, chunk 1: expected X of shape (n, n_features) and as many rows of y, got (120, 3) "
        "and (7,); change their shape",
    ),
    "text in chunks": (
        chunk_of(X.astype(str), X[:, 0]),
        "chunks, chunk 1: expected numbers in X, got dtype <U32; convert it",
    ),
    "weights": (
        chunk_of(X, X[:, 0], X),
        "chunks, chunk 1: expected one sample_weight for each row, got (120, 3) and (120,) and "
        "(120, 3); change its shape",
    ),
    "other shapes": (
        chunk_of(X[:, :2], X[:, 0]),
        "chunks, chunk 1: expected arrays shaped as in the chunk before, got (120, 2) and (120,); "
        "make them so",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused(name: str, tmp_path: Path) -> None:
    call, message = REFUSED[name]
    with pytest.raises(InputError, match=re.escape(message)):
        call(tmp_path)


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"y": X}, {"target": "y"}, "a.npz: expected an array named 'X', got none of that name"),
        ({"X": X}, {}, "a.npz: expected the name of one array as target, got none; name one"),
        (
            {"X": X}, {"target": "y", "columns": ["a"]},
            "open_table: expected one npz file without other options, got columns; leave them out",
        ),
        (
            {"X": np.asfortranarray(X), "y": X[:, 0]}, {"target": "y"},
            "expected arrays stored by rows, got columns or a single number; save "
            "numpy.ascontiguousarray(X)",
        ),
        (
            {"X": X, "y": X[:, 0].astype(object)}, {"target": "y"},
            "expected arrays stored by rows, got an array of objects; save",
        ),
    ],
)  # fmt: skip
def test_npz_files_that_cannot_be_used_are_refused(
    arrays: Any, options: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        open_table(npz(tmp_path, **arrays), **options)


def test_a_later_file_with_text_is_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"x": [1.0], "y": [1.0]}), tmp_path / "a.parquet")
    parquet.write_table(pa.table({"x": ["1"], "y": [1.0]}), tmp_path / "b.parquet")
    table = open_table([tmp_path / "a.parquet", tmp_path / "b.parquet"], "y")
    message = "b.parquet, row group 0: expected numbers in column 'x', got dtype object; write it"
    with pytest.raises(InputError, match=message):
        read_all(table)
