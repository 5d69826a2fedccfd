"""Finished networks of `fit_many`, kept in a folder so that a call can resume after a crash.

Each file holds the networks that finished after the previous file was written. Files are written
whole or not at all, and never changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileError
from ..io import serialization
from ..io.files import as_path, remove_leftovers
from ..model.body import Body
from .checkpoint import hash_of, identity, parts_of
from .history import History

SAVE_SECONDS = 10.0  # at least, from one file to the next
_NAME, _FILE = "fits-{:06d}.safetensors", re.compile(r"fits-\d{6,}\.safetensors")


class Finished:
    """What is known of networks that are done.

    Parameters
    ----------
    where : str
        For errors.
    folder : str or path
        Created if it does not exist.
    """

    def __init__(self, where: str, folder: str | os.PathLike[str]) -> None:
        self._folder = as_path(where, folder)
        self._where = f"{where}, checkpoint {os.fspath(self._folder)!r}"
        self._kept = dict[int, tuple[dict[str, Any], np.ndarray]]()
        self._new = dict[int, tuple[dict[str, Any], np.ndarray]]()
        self._hashes, self._starts = dict[int, tuple[Any, str]](), dict[int, str]()
        files = self._files()
        remove_leftovers(self._folder, serialization.SUFFIXES[0])
        for file in files:
            self._read(file)
        self._next = 1 + max((int(file.stem.partition("-")[2]) for file in files), default=0)
        self._saved_at = time.monotonic()

    def _files(self) -> list[Path]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return sorted(path for path in self._folder.iterdir() if _FILE.fullmatch(path.name))
        except OSError as error:
            raise FileError(
                self._where, "a folder that can be written to",
                error.strerror or type(error).__name__, "choose another one",
            ) from error  # fmt: skip

    def _read(self, file: Path) -> None:
        where = f"{self._where}, {file.name}"
        header, tensors = serialization.read(where, file)
        try:
            self._kept |= {
                int(number): (fields, tensors[number]) for number, fields in header["fits"].items()
            }
        except Exception as error:  # a wrong header can make anything fail
            raise FileError(where, "networks that are done", "others", "remove it") from error

    def identify(self, network: Body, X: Any, arrays: Sequence[np.ndarray], options: Any) -> str:
        """A description of what a network is trained on and how.

        arrays: all data but X, whose hash is computed once.
        """
        if id(X) not in self._hashes:
            self._hashes[id(X)] = X, hash_of(*parts_of(X))
        found = identity(network, f"{self._hashes[id(X)][1]} {hash_of(*arrays)}", options)
        return hashlib.blake2b(json.dumps(found).encode(), digest_size=16).hexdigest()

    def find(self, number: int, described: str, learned: np.ndarray) -> History | None:
        """Give a network its parameters and buffers, if it is done; returns its history.

        learned: as it was before the fit, or as the fit has left it.
        """
        start = self._starts[number] = hash_of(learned)
        if number not in self._kept:
            return None
        fields, values = self._kept[number]
        is_same = fields["identity"] == described and start in (fields["start"], hash_of(values))
        if not is_same:
            raise FileError(
                self._where, "the networks, rows and options of the call before",
                f"others for networks[{number}]", "choose another folder",
            )  # fmt: skip
        learned[...] = values
        return History(**fields["history"])

    def add(self, number: int, described: str, learned: np.ndarray, history: History) -> None:
        """Keep a network that is done; writes a file if the last one was some time ago."""
        start = self._starts.pop(number)
        fields = {"identity": described, "start": start, "history": history.to_dict()}
        self._new[number] = fields, learned.copy()
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write what is new, if there is any."""
        if self._new:
            fits = {str(number): fields for number, (fields, _) in self._new.items()}
            tensors = {str(number): values for number, (_, values) in self._new.items()}
            path = self._folder / _NAME.format(self._next)
            serialization.store(self._where, path, {"fits": fits}, tensors)
            self._kept |= self._new
            self._new, self._next = {}, self._next + 1
        self._saved_at = time.monotonic()
