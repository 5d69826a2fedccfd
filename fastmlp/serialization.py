"""Model files: safetensors with all parameters by name and a small JSON header.

Reading one runs nothing of its content: names are looked up in the registries, numbers are checked
against the shapes that the header's layers imply.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import FileError, InputError, InputTypeError
from .files import as_path, checked_path, replacing
from .layers import LAYERS, Layer, chain_sizes
from .losses import LOSSES, Loss
from .registry import Registry, specification
from .targets import TargetCoder

if TYPE_CHECKING:
    from .network import Network

FORMAT = 2  # 1 had no checksum
SUFFIXES = (".safetensors",)
_KEY, _CHECKSUM = "fastmlp", "checksum"
_HASHED_ROWS = 4096  # at a time, so that rows of a memory map need not be in memory at once
EXTRA = "checkpoint."  # begins the names of what a file holds beside the network


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a built network to `path`, whole or not at all.

    Raises
    ------
    FileError
        If the folder is missing or cannot be written.
    """
    where = "Network.save"
    if not network.is_built:
        raise InputError(where, "a network with parameters", "one not built yet", "call fit first")
    write(where, network, checked_path(where, path, SUFFIXES))


def write(
    where: str,
    network: Network,
    target: Path,
    extra_tensors: dict[str, np.ndarray] | None = None,
    extra_fields: dict[str, Any] | None = None,
) -> None:
    """Write a built network, and what else there is under names that begin with `EXTRA`."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    tensors = network.named_parameters() | (extra_tensors or {})
    tensors = {key: np.ascontiguousarray(values) for key, values in tensors.items()}
    fields = _header(network) | ({} if extra_fields is None else {EXTRA: extra_fields})
    fields = json.loads(json.dumps(fields, default=_plain))
    header = json.dumps(fields | {_CHECKSUM: _checksum(fields, tensors)})
    with replacing(where, target) as temporary:
        try:
            save_file(tensors, temporary, metadata={_KEY: header})
        except SafetensorError as error:  # wraps the system's error, of which it keeps the text
            raise OSError(str(error)) from error


def _checksum(fields: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    """A hash of a file's whole content, by which one changed bit is found."""
    digest = hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        add_array(digest, name, tensors[name])
    return digest.hexdigest()


def add_array(digest: Any, name: str, values: np.ndarray) -> None:
    """Let a hash depend on an array, and on the name it goes by."""
    digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
    rows = np.atleast_1d(values)
    for start in range(0, rows.shape[0], _HASHED_ROWS):
        digest.update(np.ascontiguousarray(rows[start : start + _HASHED_ROWS]).data)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, refused if it has one key twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _plain(value: object) -> Any:
    """A NumPy number as Python's own; anything else that JSON does not know is refused."""
    if isinstance(value, np.number | np.bool_):
        return value.item()
    raise InputTypeError(
        "Network.save",
        "labels and settings that are numbers or text",
        type(value).__name__,
        "turn them into numbers or text first",
    )


def _header(network: Network) -> dict[str, Any]:
    return {
        "format": FORMAT,
        **architecture(network),
        "feature_names": network.feature_names,
        "seed": network.seed,
        "targets": None if network.coder is None else _coder_header(network.coder),
        **({} if network.trained_on is None else {"trained_on": network.trained_on}),
    }


def architecture(network: Network) -> dict[str, Any]:
    """What a network computes and minimises, short of its parameters."""
    return {
        "layers": [layer.specification() for layer in network.layers],
        "loss": _loss_header(network.loss),
        "dtype": network.dtype.name,
        "n_features": network.n_features,
        "l1": network.l1,
        "l2": network.l2,
    }


def _loss_header(loss: Loss) -> dict[str, Any]:
    spec = specification(loss)
    return spec if isinstance(spec, dict) else {"name": loss.name}  # as Layer.specification does


def _coder_header(coder: TargetCoder) -> dict[str, Any]:
    classes = coder.classes
    return {
        "flat": coder.flat,
        "n_levels": coder.n_levels,
        "non_negative": coder.non_negative,
        "classes": None if classes is None else classes.tolist(),
        "classes_dtype": None if classes is None else classes.dtype.str,
    }


def load(path: str | os.PathLike[str], custom: Iterable[type] = ()) -> Network:
    """Read a network that `save` wrote.

    Parameters
    ----------
    path : str or path
    custom : iterable of type
        Classes of your own layers and losses that the file names.

    Raises
    ------
    FileError
        If the file is missing, damaged, foreign or of a newer format.
    """
    where = f"Network.load({str(path)!r})"
    header, tensors = read(where, as_path("Network.load", path))
    tensors = {key: values for key, values in tensors.items() if not key.startswith(EXTRA)}
    try:
        return _rebuilt(where, header, tensors, _tables(custom))
    except FileError:
        raise
    except Exception as error:  # a wrong header can make anything fail
        raise _damaged(where, "a header with missing or wrong entries") from error


def _check_start(where: str, path: Path) -> None:
    """Refuse what is no file or begins unlike safetensors: 8 bytes of a length, then JSON."""
    start = b""
    try:
        got = "a folder" if path.is_dir() else ""
        if not got:
            with path.open("rb") as file:
                start = file.read(9)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        got = "no such file" if missing else error.strerror or type(error).__name__
    if got:
        raise FileError(where, "a model file", got, "check the path")
    if start[8:] != b"{":
        raise FileError(
            where,
            "a model saved by fastmlp (.safetensors)",
            "something else" if start else "an empty file",
            "pass a file that Network.save wrote",
        )


def read(where: str, path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """Header and arrays of a file that `write` wrote, its checksum compared."""
    _check_start(where, path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            # Keys rather than the file itself: safetensors' handle is not iterable.
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise _damaged(where, "one that is cut short or damaged") from error
    if _KEY not in metadata:
        raise FileError(
            where,
            "a model saved by fastmlp",
            "a safetensors file of another program",
            "save it with Network.save",
        )
    try:
        header = json.loads(metadata[_KEY], object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _damaged(where, "a header that is not JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise _damaged(where, "a header without a format number")
    if header["format"] > FORMAT:
        raise FileError(
            where, f"format {FORMAT} or older", f"format {header['format']}", "update fastmlp"
        )
    checksum = header.pop(_CHECKSUM, None)
    if header["format"] > 1 and checksum != _checksum(header, tensors):
        raise _damaged(where, "one that was changed after it was written")
    return header, tensors


def _damaged(where: str, got: str) -> FileError:
    return FileError(where, "a whole model file", got, "restore it from a copy")


def _tables(custom: Iterable[type]) -> tuple[Registry[Layer], Registry[Loss]]:
    """The registries, with classes of the user's own beside the built-in ones."""
    layers: Registry[Layer] = Registry("layer")
    losses: Registry[Loss] = Registry("loss")
    for layer in LAYERS:
        layers.register(layer)
    for loss in LOSSES:
        losses.register(loss)
    for cls in custom:
        if issubclass(cls, Loss):
            losses.register(cls)
        elif issubclass(cls, Layer):
            layers.register(cls)
    return layers, losses


def _rebuilt(
    where: str,
    header: dict[str, Any],
    tensors: dict[str, np.ndarray],
    tables: tuple[Registry[Layer], Registry[Loss]],
) -> Network:
    from .network import Network

    layer_table, loss_table = tables
    _check_names(where, header, layer_table, loss_table)
    layers = [_layer(spec, layer_table) for spec in header["layers"]]
    loss = loss_table.make(header["loss"], Loss)
    _check_parameters(where, header, layers, tensors)
    network = Network(
        layers,
        loss,
        dtype=header["dtype"],
        random_state=header["seed"],
        l1=header["l1"],
        l2=header["l2"],
    )
    if not network.is_built:
        network.build(header["n_features"])
    for key, view in network.named_parameters().items():
        view[...] = tensors[key]
    if header["feature_names"] is not None:
        network.feature_names = tuple(str(name) for name in header["feature_names"])
    trained_on = header.get("trained_on")  # newer than format 2, which it does not change
    network.trained_on = None if trained_on is None else dict(trained_on)
    if header["targets"] is not None:
        network.coder = _coder(header["targets"], network)
    return network


def _check_names(
    where: str, header: dict[str, Any], layers: Registry[Layer], losses: Registry[Loss]
) -> None:
    """Refuse layers and losses that are in no table."""
    names = [("layer", spec["name"], layers.names) for spec in header["layers"]]
    for kind, name, known in [*names, ("loss", header["loss"]["name"], losses.names)]:
        if name not in known:
            raise FileError(
                where, f"a {kind} that fastmlp knows", repr(name), "pass its class in custom"
            )


def _check_parameters(
    where: str, header: dict[str, Any], layers: list[Layer], tensors: dict[str, np.ndarray]
) -> None:
    """Refuse parameters that are not those of the layers, before memory is made for these."""
    trial = [copy.copy(layer) for layer in layers]
    chain_sizes(trial, header["n_features"])
    wanted = {
        f"{number}.{key}": (shape, header["dtype"])
        for number, layer in enumerate(trial)
        for key, shape in layer.parameter_shapes().items()
    }
    if wanted != {key: (values.shape, values.dtype.name) for key, values in tensors.items()}:
        raise _damaged(where, "a header that does not fit its parameters")
    if not all(np.isfinite(values).all() for values in tensors.values()):
        raise _damaged(where, "one with nan or infinity among its parameters")


def _layer(spec: dict[str, Any], table: Registry[Layer]) -> Layer:
    fields = {key: value for key, value in spec.items() if key != "name"}
    layer: Layer
    if spec["name"] == "dense" and fields["n_in"] is None:
        del fields["n_in"]
        layer = table["dense"](fields.pop("n_out"), **fields)  # type: ignore[call-arg]
    else:
        layer = table[spec["name"]](**fields)
    return layer


def _coder(fields: dict[str, Any], network: Network) -> TargetCoder:
    classes = fields["classes"]
    if classes is not None:
        classes = np.array(classes, dtype=np.dtype(fields["classes_dtype"]))
    return TargetCoder(
        network.n_outputs,
        network.loss.task,
        int(fields["n_levels"]),
        bool(fields["non_negative"]),
        classes,
        bool(fields["flat"]),
    )
