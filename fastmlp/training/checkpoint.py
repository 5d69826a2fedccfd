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
_NAME, _NAME_WITHIN = "epoch-{:06d}.safetensors", "epoch-{:06d}-row-{:012d}.safetensors"
_FILE = re.compile(r"epoch-(\d{6,})(?:-row-(\d{12,}))?\.safetensors")
_STATE = serialization.EXTRA + "optimizer_state"
_BEST_PARAMS = serialization.EXTRA + "best_params"
_AVERAGE = serialization.EXTRA + "average"
_ARCHITECTURE = "architecture"


class InEpoch(NamedTuple):
    """What has been done of an epoch that a checkpoint was written in."""

    rows: int = 0
    loss: float = 0.0  # the sum over these rows
    seconds: float = 0.0


class FitState(NamedTuple):
    """The state of a fit beside its network.

    Attributes
    ----------
    history : History
        All epochs so far.
    optimizer : ndarray of shape (n_vectors * n_params,)
        The optimizer's state.
    step : int
        Number of steps so far.
    stopping : (dict, ndarray) or None
        What an `EarlyStopping` remembers.
    averaging : Averaging or None
        The averaging of the fit.
    """

    history: History
    optimizer: np.ndarray
    step: int
    stopping: tuple[dict[str, Any], np.ndarray] | None
    averaging: Averaging | None


class Resumed(NamedTuple):
    """Where a fit continues: the parameters by name, and the rest of its state."""

    parameters: dict[str, np.ndarray]
    state: np.ndarray
    seed: int
    step: int
    history: History
    stopping: tuple[dict[str, Any], np.ndarray] | None  # as an `EarlyStopping` remembers
    average: np.ndarray | None  # of parameters and buffers
    in_epoch: InEpoch

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
    every_rows : int, optional
        With a table that is larger than memory (`datasets.open_table`): save also within epochs,
        at the first end of a window after each so many rows.

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
    every_rows: int | None = None
    saved: list[Path] = field(default_factory=list, init=False, repr=False)
    _identity: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = as_path("Checkpoint", self.folder)
        checks.whole_number("Checkpoint", "every", self.every, 1)
        checks.whole_number("Checkpoint", "keep", self.keep, 1)
        if self.every_rows is not None:
            checks.whole_number("Checkpoint", "every_rows", self.every_rows, 1)

    @property
    def _where(self) -> str:
        return f"Checkpoint({os.fspath(self.folder)!r})"

    def begin(self, network: Body, data: str, run: dict[str, Any]) -> Resumed | None:
        """Prepare the folder and find where to continue; a fit calls this when it begins.

        Parameters
        ----------
        network : Network
            Built for the data.
        data : str
            A fingerprint of the training data.
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
        self.saved, self._identity = [], identity(network, data, run)
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
        return sorted(names, key=_place_of, reverse=True)

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

    def after_epoch(self, network: Body, state: FitState, is_last: bool) -> None:
        """Write what is due and remove the oldest; a fit calls this after each complete epoch.

        Parameters
        ----------
        network : Network
            In its current state.
        state : FitState
            The rest of the fit's.
        is_last : bool
            Whether the fit ends here.
        """
        history, averaging = state.history, state.averaging
        scores = history.validation_score
        if scores and all(scores[-1] > score for score in scores[:-1]):
            with contextlib.nullcontext() if averaging is None else averaging.judged(network):
                self._write(network, Path(self.folder) / BEST)
        if is_last or history.epochs % self.every == 0:
            self._save(network, _NAME.format(history.epochs), state)

    def is_due(self, rows_before: int, rows: int) -> bool:
        """Whether to save within an epoch.

        Parameters
        ----------
        rows_before, rows : int
            How many rows of the epoch were done at the end of the window before, and are now.

        Returns
        -------
        bool
            True if a multiple of `every_rows` lies between them.
        """
        every = self.every_rows
        return every is not None and rows // every > rows_before // every

    def within_epoch(self, network: Body, state: FitState, in_epoch: InEpoch) -> None:
        """Save a fit within an epoch, and remove the oldest.

        Parameters
        ----------
        network : Network
            In its current state.
        state : FitState
            The rest of the fit's.
        in_epoch : InEpoch
            What has been done of the epoch.
        """
        name = _NAME_WITHIN.format(state.history.epochs, in_epoch.rows)
        self._save(network, name, state, in_epoch)

    def _save(
        self, network: Body, name: str, state: FitState, in_epoch: InEpoch | None = None
    ) -> None:
        history = state.history.to_dict()
        fields = {"run": self._identity, "step": state.step, "history": history}
        tensors = {_STATE: state.optimizer}
        if in_epoch is not None:
            fields["in_epoch"] = in_epoch._asdict()
        if state.stopping is not None:
            fields["stopping"], tensors[_BEST_PARAMS] = state.stopping
        if state.averaging is not None:
            tensors[_AVERAGE] = state.averaging.learned
        self._write(network, Path(self.folder) / name, tensors, fields)
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
    in_epoch = InEpoch(**fields.get("in_epoch", {}))
    return run, Resumed(tensors, state, header["seed"], step, history, stopping, average, in_epoch)


def _place_of(file: Path) -> tuple[int, int]:
    """The epoch and the row in it at which a checkpoint was written."""
    epoch, row = _FILE.fullmatch(file.name).groups("0")  # type: ignore[union-attr]
    return int(epoch), int(row)


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
