"""Model files: safetensors with all parameters by name and a small JSON header.

Reading one runs nothing of its content: names are looked up in the registries, numbers are checked
against the shapes that the header's layers imply.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import FileError, InputError, InputTypeError
from .files import checked_path, replacing
from .layers import LAYERS, Layer
from .losses import LOSSES, Loss
from .registry import Registry, specification
from .targets import TargetCoder

if TYPE_CHECKING:
    from .network import Network

FORMAT = 1
SUFFIXES = (".safetensors",)
_KEY = "fastmlp"


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a built network to `path`, whole or not at all.

    Raises
    ------
    FileError
        If the folder is missing or cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    where = "Network.save"
    if not network.is_built:
        raise InputError(where, "a network with parameters", "one not built yet", "call fit first")
    target = checked_path(where, path, SUFFIXES)
    tensors = {key: np.ascontiguousarray(v) for key, v in network.named_parameters().items()}
    header = json.dumps(_header(network), default=_plain)
    with replacing(where, target) as temporary:
        try:
            save_file(tensors, temporary, metadata={_KEY: header})
        except SafetensorError as error:  # wraps the system's error, of which it keeps the text
            raise OSError(str(error)) from error


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
        "layers": [layer.specification() for layer in network.layers],
        "loss": _loss_header(network.loss),
        "dtype": network.dtype.name,
        "n_features": network.n_features,
        "feature_names": network.feature_names,
        "seed": network.seed,
        "l1": network.l1,
        "l2": network.l2,
        "targets": None if network.coder is None else _coder_header(network.coder),
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
    if not isinstance(path, str | os.PathLike):
        raise InputTypeError(
            "Network.load", "a path", type(path).__name__, "pass text or a pathlib.Path"
        )
    where = f"Network.load({str(path)!r})"
    if not Path(path).is_file():
        raise FileError(where, "a model file", "no such file", "check the path")
    header, tensors = _read(where, path)
    try:
        return _rebuilt(header, tensors, _tables(custom))
    except FileError:
        raise
    except Exception as error:  # a wrong header can make anything fail
        raise _damaged(where, f"a header that {type(error).__name__} shows to be wrong") from error


def _read(where: str, path: str | os.PathLike[str]) -> tuple[Any, dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            # Keys rather than the file itself: safetensors' handle is not iterable.
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise _damaged(where, "something safetensors cannot read") from error
    if _KEY not in metadata:
        raise FileError(
            where,
            "a model saved by fastmlp",
            "a safetensors file of another program",
            "save it with Network.save",
        )
    try:
        header = json.loads(metadata[_KEY])
    except (ValueError, RecursionError) as error:
        raise _damaged(where, "a header that is not JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise _damaged(where, "a header without a format number")
    if header["format"] > FORMAT:
        raise FileError(
            where, f"format {FORMAT} or older", f"format {header['format']}", "update fastmlp"
        )
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
    header: dict[str, Any],
    tensors: dict[str, np.ndarray],
    tables: tuple[Registry[Layer], Registry[Loss]],
) -> Network:
    from .network import Network

    layer_table, loss_table = tables
    layers = [_layer(spec, layer_table) for spec in header["layers"]]
    loss = loss_table.make(header["loss"], Loss)
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
    views = network.named_parameters()
    if views.keys() != tensors.keys():
        raise InputError("file", "parameters of its layers", "others", "restore it")
    for key, view in views.items():
        if tensors[key].shape != view.shape or tensors[key].dtype != view.dtype:
            raise InputError("file", "shapes of its layers", "others", "restore it")
        if not np.isfinite(tensors[key]).all():
            raise InputError("file", "finite parameters", "nan or infinity", "restore it")
        view[...] = tensors[key]
    if header["feature_names"] is not None:
        network.feature_names = tuple(str(name) for name in header["feature_names"])
    if header["targets"] is not None:
        network.coder = _coder(header["targets"], network)
    return network


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
