"""The 70,000 digits of MNIST, always read from the four original idx files and checked by md5.

A download of OpenML's copy is converted to those same files, byte for byte, so one reader and one
list of checksums serve for users' files, the cache and downloads.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import struct
import urllib.error
import urllib.request
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from math import prod
from pathlib import Path

import numpy as np

from ..errors import FileError
from ..io.files import as_path, user_cache_folder
from .dataset import Dataset
from .inputs import check_dtype

# md5 of each original file, uncompressed: training images and labels, test images and labels.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
# OpenML's mnist_784: rows of 784 pixels and the digit, in the original order.
MNIST_URL = "https://www.openml.org/data/v1/download/52667/mnist_784.arff"
N_TRAIN = 60_000
# The ARFF text has about 128 MB; a file of twice that size is not it.
MAX_BYTES = 2**28
TIMEOUT_SECONDS = 30
BLOCK_BYTES = 2**16


def load_mnist(
    data_home: str | os.PathLike[str] | None = None, *, dtype: str = "float32"
) -> Dataset:
    """Load all of MNIST: 60,000 training rows, then the 10,000 standard test rows.

    The four idx files (`train-images-idx3-ubyte` and so on, plain or `.gz`, also with `.idx` for
    `-idx`) are read from `data_home`. If one is missing, OpenML's copy is downloaded once (about
    15 MB), verified, and kept there as idx files (55 MB).

    Parameters
    ----------
    data_home : str or path, optional
        The folder; None means the environment variable FASTMLP_DATA, else `fastmlp` in the
        user's cache folder.
    dtype : {"float32", "uint8"}, default "float32"
        "float32" scales the pixels to [0, 1] by 1/255; "uint8" keeps the bytes 0 to 255, in a
        quarter of the memory.

    Returns
    -------
    Dataset
        X of shape (70000, 784) and the given dtype; y int64 of shape (70000,), the digits 0 to 9;
        n_test 10000.

    Raises
    ------
    InputError
        The dtype is not one of the two.
    FileError
        A file is damaged, or files are missing and the download failed.

    Examples
    --------
    >>> from fastmlp.datasets import load_mnist
    >>> load_mnist("folder/with/idx/files").split()  # doctest: +SKIP
    Split('mnist': 51000 training, 9000 validation, 10000 test rows)
    """
    check_dtype("load_mnist", dtype, ("float32", "uint8"))
    folder = default_data_home() if data_home is None else as_path("load_mnist", data_home)
    if not all(_find(folder, name) for name in MNIST_MD5):
        _download(folder)
    train_images, train_labels, test_images, test_labels = (
        read_idx(_find(folder, name) or folder / name, md5=md5) for name, md5 in MNIST_MD5.items()
    )
    height, width = train_images.shape[1:]
    X = np.concatenate([train_images, test_images]).reshape(-1, height * width)
    if dtype == "float32":
        X = np.divide(X, np.float32(255), dtype=np.float32)
    y = np.concatenate([train_labels, test_labels]).astype(np.int64)
    return Dataset(
        X,
        y,
        "mnist",
        target_name="digit",
        image_shape=(height, width),
        n_test=len(test_labels),
    )


def default_data_home() -> Path:
    """Where data is kept: FASTMLP_DATA, else `fastmlp` in the user's cache folder."""
    if chosen := os.environ.get("FASTMLP_DATA"):
        return Path(chosen).expanduser()
    return user_cache_folder()


def read_idx(path: str | os.PathLike[str], *, md5: str | None = None) -> np.ndarray:
    """Read an idx file of unsigned bytes, plain or gzip-compressed.

    Parameters
    ----------
    path : str or path
        The file: a 4-byte magic number, the size of each dimension, the bytes.
    md5 : str, optional
        The md5 the uncompressed file must have.

    Returns
    -------
    ndarray of shape (n,), (n, m) or (n, m, k)
        Uint8 and read-only, with the shape given in the file: (n, 28, 28) for MNIST's images.

    Raises
    ------
    FileError
        The file is missing, damaged, of another format or length, or has another md5.

    Examples
    --------
    >>> from fastmlp.datasets import read_idx
    >>> read_idx("t10k-labels-idx1-ubyte.gz").shape  # doctest: +SKIP
    (10000,)
    """
    file = as_path("read_idx", path)
    content = _read_plain(file)
    again = "replace the file with an original one"
    magic = content[:4]
    n_dims = magic[3] if len(magic) == 4 else 0
    if magic[:3] != b"\0\0\x08" or not 1 <= n_dims <= 3:
        expected = "an idx file with magic number 0x00000801, 0x00000802 or 0x00000803"
        got = f"0x{magic.hex()}" if magic else "an empty file"
        raise FileError(str(file), expected, got, again)
    n_header = 4 + 4 * n_dims
    if len(content) < n_header:
        raise FileError(str(file), f"a header of {n_header} bytes", f"{len(content)} bytes", again)
    shape = struct.unpack(f">{n_dims}I", content[4:n_header])
    n_bytes = n_header + prod(shape)
    if len(content) != n_bytes:
        expected = f"{n_bytes} bytes for shape {shape}"
        raise FileError(str(file), expected, f"{len(content)} bytes", again)
    if 0 in shape:
        raise FileError(str(file), "no dimension of size 0", f"shape {shape}", again)
    found = _md5(content)
    if md5 is not None and found != md5:
        raise FileError(str(file), f"content with md5 {md5}", f"md5 {found}", again)
    return np.frombuffer(content, np.uint8, offset=n_header).reshape(shape)


def _find(folder: Path, name: str) -> Path | None:
    """The file in the folder, with its original name or that of a mirror; None if missing."""
    for stem in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (path := folder / (stem + suffix)).is_file():
                return path
    return None


def _read_plain(path: Path, limit: int = -1) -> bytes:
    """The content of a file, decompressed if it is gzip; at most `limit` bytes if given."""
    advice = "check the path and replace the file if it is damaged"
    try:
        with path.open("rb") as raw:
            if path.suffix != ".gz" and raw.peek(2)[:2] != b"\x1f\x8b":
                return raw.read(limit)
            with gzip.GzipFile(fileobj=raw) as unzipped:
                return unzipped.read(limit)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileError(str(path), "an intact gzip file", str(error), advice) from error
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise FileError(str(path), "a readable file", got, advice) from error


def _download(folder: Path) -> None:
    """Download MNIST and write its four idx files to the folder atomically."""
    try:
        with _temporary(folder) as part:
            _fetch(MNIST_URL, part)
            files = _decode_arff(part)
        for name, content in files.items():
            with _temporary(folder) as part:
                part.write_bytes(content)
                os.replace(part, folder / name)
    except (OSError, HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # The exception keeps the connection open, to let callers read the page.
        raise FileError(
            "load_mnist",
            f"MNIST's four idx files in {folder} or a good download of {MNIST_URL}",
            str(getattr(error, "got", error)) or type(error).__name__,
            f"put {', '.join(MNIST_MD5)} (plain or .gz) there, "
            "or use the data set digits or mnist-5k",
        ) from error


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A new name in the folder; a file of that name is removed afterwards unless it was moved."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"download-{uuid.uuid4().hex}.part"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _fetch(url: str, path: Path) -> None:
    """Copy what the server sends (perhaps gzip-compressed) into a file, with a progress bar."""
    from tqdm import tqdm

    # Compression shrinks the text to an eighth; OpenML compresses it on request.
    headers = {"Accept-Encoding": "gzip", "User-Agent": "fastmlp"}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        n_bytes = 0
        bar = tqdm(total=total, unit="B", unit_scale=True, desc="mnist", disable=None)
        with path.open("xb") as file, bar:
            while block := response.read(BLOCK_BYTES):
                n_bytes += len(block)
                if n_bytes > MAX_BYTES:
                    raise OSError(f"more than {MAX_BYTES} bytes")
                file.write(block)
                bar.update(len(block))
    if total is not None and n_bytes != total:
        raise OSError(f"{n_bytes} of {total} bytes")


def _decode_arff(path: Path) -> dict[str, bytes]:
    """Rebuild the four idx files from the ARFF text, or raise OSError if they differ."""
    text = _read_plain(path, MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise OSError(f"more than {MAX_BYTES} bytes")
    start = re.search(rb"(?im)^@data\s*", text)
    if start is None or start.end() == len(text):
        raise OSError(f"{len(text)} bytes without rows after a @DATA line")
    rows = io.BytesIO(text)
    rows.seek(start.end())
    stream = io.TextIOWrapper(rows, encoding="ascii")
    try:
        table = np.loadtxt(stream, np.uint8, comments="%", delimiter=",", quotechar="'", ndmin=2)
        images = table[:, :-1].reshape(-1, 28, 28)
    except ValueError as error:
        raise OSError("rows that are not 784 pixels and a digit") from error
    labels = table[:, -1]
    parts = (images[:N_TRAIN], labels[:N_TRAIN], images[N_TRAIN:], labels[N_TRAIN:])
    files = {name: _idx_bytes(part) for name, part in zip(MNIST_MD5, parts, strict=True)}
    for name, content in files.items():
        if (found := _md5(content)) != MNIST_MD5[name]:
            raise OSError(f"md5 {found} instead of {MNIST_MD5[name]} for {name}")
    return files


def _idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def _md5(content: bytes) -> str:
    # To detect damage, not attacks; the flag makes it work on FIPS systems.
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
