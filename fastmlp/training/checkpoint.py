"""Checkpoints: everything that a fit needs to continue, bit for bit, after a crash or Ctrl-C.

Each is a model file that `Network.load` can read. It also holds the optimizer's state, the history
and a description of the run. Files are written whole or not at all, and the last few are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import FileError, InputError
from ..inputs import checks
from ..inputs.tables import is_sparse
from ..inputs.targets import Samples
from ..io import serialization
from ..io.files import as_path, remove_leftovers
from ..model.body import Body
from ..optim.averaging import Averaging
from ..optim.optimizers import has_rule
from ..registry import checked_keywords, specification
from ..version import __version__
from .history import History

BEST = "best.safetensors"
_NAME, _FILE = "epoch-{:06d}.safetensors", re.compile(r"epoch-\d{6,}\.safetensors")
_STATE = serialization.EXTRA + "optimizer_state"
_BEST_PARAMS = serialization.EXTRA + "best_params"
_AVERAGE = serialization.EXTRA + "average"
_ARCHITECTURE = "architecture"


class Resumed(NamedTuple):
    """Where a fit continues: the parameters by name, and the rest of its state."""

    parameters: dict[str, np.ndarray]
    state: np.ndarray
    seed: int
    step: int
    history: History
    stopping: tuple[dict[str, Any], np.ndarray] | None  # as an `EarlyStopping` remembers
    average: np.ndarray | None  # of parameters and buffers

    def put_into(self, body: Body) -> None:
        """Give a built network the parameters and the seed."""
        body.seed = self.seed
        for name, values in body.named_arrays().items():
            values[...] = self.parameters[name]


@checked_keywords
@dataclass
class Checkpoint:
    """Saves a fit while it runs, and resumes it; pass it among the `callbacks` of `Network.fit`.

    A resumed fit ends with the same bits as an uninterrupted one: parameters, optimizer state,
    schedule, shuffling and dropout continue exactly where they were.

    Parameters
    ----------
    folder : str or path
        Created if it does not exist. After an epoch with the best validation score so far, the
        network is also saved there as "best.safetensors": with averaged weights, if an `EMA` or
        `SWA` with `apply=True` averages them.
    every : int, default 1
        Epochs between checkpoints; the last epoch of a fit is always saved.
    keep : int, default 3
        Checkpoints to keep; if the newest is damaged, the one before it is used.
    resume : bool, default False
        Continue from the newest checkpoint in the folder, if there is one. If False, the folder
        must not contain any.
    allow_changes : bool, default False
        Continue even if data, optimizer, batch size, epochs, shuffling, early stopping, averaging
        or the version of fastmlp differ from those of the checkpoint. Another architecture is
        always refused.

    Attributes
    ----------
    saved : list of pathlib.Path
        Files written by this fit that still exist.

    Raises
    ------
    InputError
        At `fit`: for a user-defined optimizer, whose state is unknown, and for a checkpoint of
        another run; the message names the differences.
    FileError
        If the folder cannot be written, or all checkpoints in it are damaged.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from fastmlp import Checkpoint, Dense, Network, ReLU
    >>> X, y, folder = np.eye(6), np.arange(6) % 2, tempfile.mkdtemp()
    >>> network = Network([Dense(4), ReLU(), Dense(2)])
    >>> network.fit(X, y, epochs=3, callbacks=[Checkpoint(folder)]).epochs
    3
    >>> again = Network([Dense(4), ReLU(), Dense(2)])
    >>> again.fit(X, y, epochs=3, callbacks=[Checkpoint(folder, resume=True)]).epochs
    3
    >>> bool((again.params == network.params).all())
    True
    """

    folder: str | os.PathLike[str]
    every: int = 1
    keep: int = 3
    resume: bool = False
    allow_changes: bool = False
    saved: list[Path] = field(default_factory=list, init=False, repr=False)
    _identity: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = as_path("Checkpoint", self.folder)
        checks.whole_number("Checkpoint", "every", self.every, 1)
        checks.whole_number("Checkpoint", "keep", self.keep, 1)

    @property
    def _where(self) -> str:
        return f"Checkpoint({os.fspath(self.folder)!r})"

    def begin(self, network: Body, samples: Samples, run: dict[str, Any]) -> Resumed | None:
        """Prepare the folder and find where to continue; a fit calls this when it begins.

        Parameters
        ----------
        network : Network
            Built for the samples.
        samples : Samples
            The training data.
        run : dict of str to object
            The options that define the fit, among them "optimizer".

        Returns
        -------
        Resumed or None
            Where to continue, if there is a checkpoint.

        Raises
        ------
        InputError, FileError
            As the class says.
        """
        if not has_rule(run["optimizer"]):
            raise InputError(
                self._where, "an optimizer of fastmlp's, whose state can be saved",
                type(run["optimizer"]).__name__, "save the network in a callback instead",
            )  # fmt: skip
        serialization.checked_header(self._where, network)  # rather than after the first epoch
        self.saved, self._identity = [], identity(network, fingerprint(samples), run)
        found = self._files()
        if found and not self.resume:
            raise InputError(
                self._where, "a folder without checkpoints", f"{found[0].name} in it",
                "pass resume=True to go on, or choose another folder",
            )  # fmt: skip
        remove_leftovers(Path(self.folder), serialization.SUFFIXES[0])
        for file in found[:-1]:
            with contextlib.suppress(FileError):
                return self._read(network, file)
        return self._read(network, found[-1]) if found else None

    def _files(self) -> list[Path]:
        """Checkpoints in the folder, newest first; creates the folder."""
        folder = Path(self.folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            names = [path for path in folder.iterdir() if _FILE.fullmatch(path.name)]
        except OSError as error:
            raise FileError(
                self._where, "a folder that can be written to",
                error.strerror or type(error).__name__, "choose another one",
            ) from error  # fmt: skip
        return sorted(names, key=lambda path: int(path.stem.partition("-")[2]), reverse=True)

    def _read(self, network: Body, file: Path) -> Resumed:
        where = f"{self._where}, {file.name}"
        header, tensors = serialization.read(where, file)
        try:
            kept, resumed = _kept(header, tensors)
        except Exception as error:  # a wrong header can make anything fail
            raise FileError(where, "a checkpoint", "a file without one", "remove it") from error
        now = self._identity
        changed = [key for key in now | kept if kept.get(key) != now.get(key)]
        if changed and (not self.allow_changes or _ARCHITECTURE in changed):
            advice = "" if _ARCHITECTURE in changed else ", or pass allow_changes=True"
            raise InputError(
                where, "a run like the one before", f"another {', another '.join(changed)}",
                f"choose another folder{advice}",
            )  # fmt: skip
        return resumed

    def after_epoch(
        self,
        network: Body,
        history: History,
        state: np.ndarray,
        step: int,
        is_last: bool,
        stopping: tuple[dict[str, Any], np.ndarray] | None = None,
        averaging: Averaging | None = None,
    ) -> None:
        """Write what is due and remove the oldest; a fit calls this after each complete epoch.

        Parameters
        ----------
        network : Network
            In its current state.
        history : History
            All epochs so far.
        state : ndarray of shape (n_vectors * n_params,)
            The optimizer's state.
        step : int
            Number of steps so far.
        is_last : bool
            Whether the fit ends here.
        stopping : (dict, ndarray), optional
            What an `EarlyStopping` remembers.
        averaging : Averaging, optional
            The averaging of the fit.
        """
        folder, scores = Path(self.folder), history.validation_score
        if scores and all(scores[-1] > score for score in scores[:-1]):
            with contextlib.nullcontext() if averaging is None else averaging.judged(network):
                self._write(network, folder / BEST)
        if is_last or history.epochs % self.every == 0:
            fields = {"run": self._identity, "step": step, "history": history.to_dict()}
            tensors = {_STATE: state}
            if stopping is not None:
                fields["stopping"], tensors[_BEST_PARAMS] = stopping
            if averaging is not None:
                tensors[_AVERAGE] = averaging.learned
            self._write(network, folder / _NAME.format(history.epochs), tensors, fields)
            for old in self._files()[self.keep :]:
                old.unlink(missing_ok=True)
        self.saved = [path for path in self.saved if path.exists()]

    def _write(self, network: Body, path: Path, *extra: Any) -> None:
        serialization.write(self._where, network, path, *extra)
        self.saved = [*(kept for kept in self.saved if kept != path), path]


def _kept(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> tuple[Any, Resumed]:
    """The description of a checkpoint's run, and its state."""
    fields, state = header[serialization.EXTRA], tensors.pop(_STATE)
    history = History(**fields["history"])
    history.stopped = History.stopped
    stopping = None
    if "stopping" in fields:
        stopping = dict(fields["stopping"]), tensors.pop(_BEST_PARAMS)
    run, step, average = dict(fields["run"]), fields["step"], tensors.pop(_AVERAGE, None)
    return run, Resumed(tensors, state, header["seed"], step, history, stopping, average)


def identity(network: Body, data: str, run: dict[str, Any]) -> dict[str, Any]:
    """The description of a run, as text that can be compared.

    Parameters
    ----------
    network : Network
    data : str
        A fingerprint.
    run : dict of str to object
        The options that define it.
    """
    parts = {
        _ARCHITECTURE: serialization.architecture(network),
        **{key: specification(value) for key, value in run.items()},
    }
    text = {key: json.dumps(value, default=_name, sort_keys=True) for key, value in parts.items()}
    return {**text, "data": data, "version of fastmlp": __version__}


def _name(value: Any) -> str:
    """The name by which a user-defined function is compared."""
    return getattr(value, "__qualname__", None) or repr(value)


def fingerprint(samples: Samples) -> str:
    """A hash of rows, targets and weights, to recognise the same data."""
    return hash_of(*parts_of(samples.X), *samples.encoded, samples.weights)


def parts_of(X: Any) -> list[np.ndarray]:
    """The arrays that make up a matrix."""
    return [X.data, X.indices, X.indptr] if is_sparse(X) else [X]


def hash_of(*arrays: np.ndarray) -> str:
    """A hash of some arrays, in this order."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        serialization.add_array(digest, "", array)
    return digest.hexdigest()
