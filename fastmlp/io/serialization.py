"""Model files: safetensors with all parameters by name and a small JSON header.

Reading one runs no code from it: names are looked up in the registries, and arrays are checked
against the shapes that the header's layers imply.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import FileError, InputError, InputTypeError
from ..inputs import checks
from ..inputs.targets import TargetCoder
from ..model.body import Body
from ..nn import LAYERS, Layer, chain_sizes, leaves
from ..nn.initializers import INITIALIZERS, Initializer
from ..nn.losses import LOSSES, Loss, MeanOfMembers
from ..registry import Registry, specification
from .comparison import alike, loses_settings, same_labels
from .files import as_path, checked_path, replacing

B = TypeVar("B", bound=Body)

FORMAT = 2  # 1 had no checksum
SUFFIXES = (".safetensors",)
_KEY, _CHECKSUM = "fastmlp", "checksum"
_HASHED_ROWS = 4096  # rows per update, so that a memory map need not be in memory as a whole
# Fields of layers that hold other parts.
_INITIALIZERS, _ACTIVATION = ("initializer", "bias_initializer"), "activation"
EXTRA = "checkpoint."  # prefix of the names of arrays that do not belong to the network
# NumPy's text for strings of variable length does not include the value for missing ones.
_STRING_TYPES: dict[str, dict[str, Any]] = {
    "StringDType": {},
    "StringDType, None": {"na_object": None},
    "StringDType, nan": {"na_object": np.nan},
}


class _Tables(NamedTuple):
    """The classes that parts in a file may have, by name."""

    layers: Registry[Layer]
    losses: Registry[Loss]
    initializers: Registry[Initializer]


class _Part(NamedTuple):
    """A layer, loss or initializer of a network, and its entry in the file."""

    label: str
    value: Any
    specification: Any
    built_in: Registry[Any]


def save(network: Body, path: str | os.PathLike[str]) -> None:
    """Write a built network to `path` atomically.

    Raises
    ------
    InputError
        If the network is not built, or has anything that `load` could not restore exactly.
    FileError
        If the folder is missing or cannot be written.
    """
    where = "Network.save"
    if not network.is_built:
        raise InputError(where, "a network with parameters", "one not built yet", "call fit first")
    write(where, network, checked_path(where, path, SUFFIXES))


def write(
    where: str,
    network: Body,
    target: Path,
    extra_tensors: dict[str, np.ndarray] | None = None,
    extra_fields: dict[str, Any] | None = None,
) -> None:
    """Write a built network, and other arrays under names that begin with `EXTRA`.

    The new file is read back and checked before it replaces an older one.
    """
    _refuse_not_finite(where, network)
    fields = checked_header(where, network, extra_fields)
    store(where, target, fields, network.named_arrays() | (extra_tensors or {}))


def store(where: str, target: Path, fields: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Write arrays and plain data to a file that `read` reads, with a checksum."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    fields = {"format": FORMAT, **fields}
    # Not ascontiguousarray, which would turn an array without dimensions into one of shape (1,).
    tensors = {key: np.asarray(values, order="C") for key, values in tensors.items()}
    header = json.dumps(fields | {_CHECKSUM: _checksum(fields, tensors)})
    with replacing(where, target) as temporary:
        try:
            save_file(tensors, temporary, metadata={_KEY: header})
        except SafetensorError as error:  # wraps the system's error and keeps its text
            raise OSError(str(error)) from error
        _check_written(where, temporary, header, tensors)


def _refuse_not_finite(where: str, network: Body) -> None:
    """Refuse nan and infinity, because such files would not be read."""
    for name, values in network.named_arrays().items():
        if not np.isfinite(values).all():
            got = "nan" if np.isnan(values).any() else "an infinity"
            raise InputError(
                where, "finite parameters", f"{got} in {name!r}",
                "train again with a lower learning rate, or set them to finite numbers",
            )  # fmt: skip


def _check_written(where: str, file: Path, header: str, tensors: dict[str, np.ndarray]) -> None:
    """Refuse a file if its header, names, shapes or types are not read back as written."""
    from safetensors import safe_open

    wanted = {
        key: (list(values.shape), f"F{8 * values.itemsize}") for key, values in tensors.items()
    }
    try:
        with safe_open(os.fspath(file), framework="numpy") as opened:
            parts = {key: opened.get_slice(key) for key in list(opened.keys())}
            found = {key: (part.get_shape(), part.get_dtype()) for key, part in parts.items()}
            is_same = opened.metadata() == {_KEY: header} and found == wanted
        got = "" if is_same else "other content"
    except Exception as error:  # whatever safetensors raises, such as for a header too large
        got = " ".join(str(error).split()) or type(error).__name__
    if got:
        raise FileError(
            where, "a file that reads as it was written", got,
            "check the disk, and shorten labels and names if they are very many or long",
        )  # fmt: skip


def checked_header(
    where: str, network: Body, extra_fields: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A file's header without its checksum, after checking that it restores the network exactly.

    Raises
    ------
    InputError
        If the network has anything that `load` could not restore exactly.
    """
    fields = _header(network) | ({} if extra_fields is None else {EXTRA: extra_fields})
    try:
        plain: dict[str, Any] = json.loads(json.dumps(fields, default=_plain))
    except (TypeError, ValueError, RecursionError) as error:
        got = str(error) if isinstance(error, _NotPlain) else "some that JSON cannot hold"
        raise InputTypeError(
            where, "labels and settings that are numbers or text", got,
            "turn them into numbers or text first",
        ) from error  # fmt: skip
    _check_settings(where, network, plain)
    _check_parts(where, network, plain)
    return plain


class _NotPlain(TypeError):
    """An object that JSON cannot represent; the text is its type."""


def _check_settings(where: str, network: Body, fields: dict[str, Any]) -> None:
    """Refuse labels, names and numbers that would not be restored exactly."""
    checks.whole_number(where, "the seed", fields["seed"], 0, 2**63 - 1)
    for name in ("l1", "l2"):
        checks.number(where, name, fields[name], 0)
    names, found = network.feature_names, fields["feature_names"]
    if names is not None and not (
        isinstance(names, list | tuple) and alike(tuple(map(str, names)), found)
    ):
        raise InputError(
            where, "feature_names that are text a file can hold", "others", "rename those columns"
        )
    if network.classes_ is not None:
        _check_labels(where, network, network.classes_, fields["targets"])


def _check_labels(where: str, network: Body, classes: np.ndarray, fields: Any) -> None:
    try:
        is_same = same_labels(classes, _coder(fields, network).classes)
    except Exception:  # as in `load`, where a wrong entry can make anything fail
        is_same = False
    if not is_same:
        raise InputTypeError(
            where, "labels that a file gives back as they are", f"some of dtype {classes.dtype}",
            "turn them into numbers or text first",
        )  # fmt: skip


def _check_parts(where: str, network: Body, fields: dict[str, Any]) -> None:
    """Refuse layers, losses and initializers that the header would not restore."""
    parts = list(_parts(network, fields))
    tables = _tables([type(part.value) for part in parts])
    for part in parts:
        if not _comes_back(part, tables):
            raise InputError(
                where, f"{part.label} that a file can give back",
                f"the class {type(part.value).__name__}",
                "give it a name of its own and make it a dataclass of numbers and text",
            )  # fmt: skip


def _parts(network: Body, fields: dict[str, Any]) -> Iterator[_Part]:
    yield _Part("a loss", network.loss, fields["loss"], LOSSES)
    for layer, spec in zip(network.layers, fields["layers"], strict=True):
        yield _Part("layers", layer, spec, LAYERS)
    for _, layer in leaves(network.layers):
        spec = json.loads(json.dumps(layer.specification(), default=_plain))
        if layer not in network.layers:
            yield _Part("layers", layer, spec, LAYERS)
        for key in _INITIALIZERS:
            value = getattr(layer, key, None)
            if isinstance(value, Initializer):
                yield _Part("initializers", value, spec[key], INITIALIZERS)
        inner = getattr(layer, _ACTIVATION, None)
        if isinstance(inner, Layer):
            yield _Part("layers", inner, spec[_ACTIVATION], LAYERS)


def _comes_back(part: _Part, tables: _Tables) -> bool:
    """Whether `load` would restore a part with the same class and equal settings."""
    kind, spec = type(part.value), part.specification
    try:
        if spec["name"] in part.built_in.names and part.built_in[spec["name"]] is not kind:
            return False  # without `custom`, the built-in one would be made instead
        if isinstance(part.value, Layer):
            made: Any = _layer(dict(spec), tables)
            same = alike(json.loads(json.dumps(made.specification(), default=_plain)), spec)
        else:
            table, base = (
                (tables.losses, Loss) if isinstance(part.value, Loss)
                else (tables.initializers, Initializer)
            )  # fmt: skip
            made, same = table.make(spec, base), True
        return same and alike(part.value, made) and not loses_settings(part.value, made, spec)
    except Exception:  # a user-defined class may raise anything
        return False


def _checksum(fields: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    """A hash of a file's whole content, which detects a single changed bit."""
    digest = hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        add_array(digest, name, tensors[name])
    return digest.hexdigest()


def add_array(digest: Any, name: str, values: np.ndarray) -> None:
    """Add an array and its name to a hash."""
    digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
    rows = np.atleast_1d(values)
    for start in range(0, rows.shape[0], _HASHED_ROWS):
        digest.update(np.ascontiguousarray(rows[start : start + _HASHED_ROWS]).data)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, which is refused if a key occurs twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _plain(value: object) -> Any:
    """A NumPy number as a Python number, an initializer as its name; anything else is refused."""
    if isinstance(value, np.number | np.bool_) and not isinstance(value.item(), np.generic):
        return value.item()
    if isinstance(value, Initializer) and isinstance(getattr(value, "name", None), str):
        return {"name": value.name}
    raise _NotPlain(type(value).__name__)


def _header(network: Body) -> dict[str, Any]:
    return {
        "format": FORMAT,
        **architecture(network),
        "feature_names": network.feature_names,
        "seed": network.seed,
        "targets": None if network.coder is None else _coder_header(network.coder),
        **({} if network.trained_on is None else {"trained_on": network.trained_on}),
    }


def architecture(network: Body) -> dict[str, Any]:
    """A network's layers, loss and penalties, without its parameters."""
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
        "classes_dtype": None if classes is None else _dtype_text(classes.dtype),
    }


def _dtype_text(dtype: np.dtype) -> str:
    """The text for a dtype of labels in a header."""
    for text, options in _STRING_TYPES.items():
        if dtype == np.dtypes.StringDType(**options):
            return text
    return dtype.str


def _dtype(text: str) -> np.dtype:
    if text in _STRING_TYPES:
        return np.dtypes.StringDType(**_STRING_TYPES[text])
    return np.dtype(text)


def load(make: Callable[..., B], path: str | os.PathLike[str], custom: Iterable[type] = ()) -> B:
    """Read a network that `save` wrote.

    Parameters
    ----------
    make : callable
        The class `Network`.
    path : str or path
    custom : iterable of type
        Classes of your own layers, losses and initializers that the file names.

    Raises
    ------
    FileError
        If the file is missing, damaged, of a newer format, or not a model file.
    """
    where = f"Network.load({str(path)!r})"
    header, tensors = read(where, as_path("Network.load", path))
    if isinstance(header.get("estimator"), str):
        name = header["estimator"]
        raise FileError(where, "the file of a network", f"one of a {name}", f"use {name}.load")
    tensors = {key: values for key, values in tensors.items() if not key.startswith(EXTRA)}
    try:
        return rebuilt(make, where, header, tensors, custom)
    except FileError:
        raise
    except Exception as error:  # a wrong header can make anything fail
        raise damaged(where, "a header with missing or wrong entries") from error


def _check_start(where: str, path: Path) -> None:
    """Refuse anything but a file that begins like safetensors: a length of 8 bytes, then JSON."""
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
    """Header and arrays of a file that `write` wrote, after comparing its checksum."""
    _check_start(where, path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            # keys(), because safetensors' handle is not iterable.
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise damaged(where, "one that is cut short or damaged") from error
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
        raise damaged(where, "a header that is not JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise damaged(where, "a header without a format number")
    if header["format"] > FORMAT:
        raise FileError(
            where, f"format {FORMAT} or older", f"format {header['format']}", "update fastmlp"
        )
    checksum = header.pop(_CHECKSUM, None)
    if header["format"] > 1 and checksum != _checksum(header, tensors):
        raise damaged(where, "one that was changed after it was written")
    return header, tensors


def estimator_in(path: str | os.PathLike[str]) -> str | None:
    """The name of the estimator that a file says it holds; None for networks and other files."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            found = json.loads((file.metadata() or {}).get(_KEY, "{}")).get("estimator")
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None  # reading it as a network says what is wrong
    return found if isinstance(found, str) else None


def damaged(where: str, got: str) -> FileError:
    """The error for a file that cannot be read."""
    return FileError(where, "a whole model file", got, "restore it from a copy")


def _tables(custom: Iterable[type]) -> _Tables:
    """The registries, extended by user-defined classes."""
    tables = _Tables(Registry("layer"), Registry("loss"), Registry("initializer"))
    kinds: list[tuple[Registry[Any], Iterable[type], type]] = [
        (tables.layers, LAYERS, Layer),
        (tables.losses, (*LOSSES, MeanOfMembers), Loss),
        (tables.initializers, INITIALIZERS, Initializer),
    ]
    for table, built_in, _ in kinds:
        for cls in built_in:
            table.add(cls)
    for cls in custom:
        for table, _, base in kinds:
            if issubclass(cls, base) and isinstance(getattr(cls, "name", None), str):
                table.add(cls)
    return tables


def rebuilt(
    make: Callable[..., B],
    where: str,
    header: dict[str, Any],
    tensors: dict[str, np.ndarray],
    custom: Iterable[type] = (),
) -> B:
    """A network from its header and its arrays; classes of parts are built in or in `custom`."""
    tables = _tables(custom)
    _check_names(where, header, tables)
    layers = [_layer(spec, tables) for spec in header["layers"]]
    loss = tables.losses.make(header["loss"], Loss)
    _check_parameters(where, header, layers, tensors)
    network = make(
        layers,
        loss,
        dtype=header["dtype"],
        random_state=header["seed"],
        l1=header["l1"],
        l2=header["l2"],
    )
    if not network.is_built:
        network.build(header["n_features"])
    for key, view in network.named_arrays().items():
        view[...] = tensors[key]
    if header["feature_names"] is not None:
        network.feature_names = tuple(str(name) for name in header["feature_names"])
    trained_on = header.get("trained_on")  # added later, without a new format number
    network.trained_on = None if trained_on is None else dict(trained_on)
    if header["targets"] is not None:
        network.coder = _coder(header["targets"], network)
    return network


def _check_names(where: str, header: dict[str, Any], tables: _Tables) -> None:
    """Refuse layers, initializers and losses that are in none of the tables."""
    layers = list(_specifications(header["layers"]))
    names = [("layer", spec["name"], tables.layers.names) for spec in layers]
    kinds: list[tuple[str, str, Registry[Any]]] = [(_ACTIVATION, "layer", tables.layers)]
    kinds += [(key, "initializer", tables.initializers) for key in _INITIALIZERS]
    for key, kind, table in kinds:
        values = [spec[key] for spec in layers if isinstance(spec.get(key), dict)]
        names += [(kind, value["name"], table.names) for value in values]
    names.append(("loss", header["loss"]["name"], tables.losses.names))
    for kind, name, known in names:
        if name not in known:
            raise FileError(
                where, f"a {kind} that fastmlp knows", repr(name), "pass its class in custom"
            )


def _specifications(values: Any) -> Iterator[dict[str, Any]]:
    """Specifications of all layers in a list, including layers inside others."""
    for value in values if isinstance(values, list) else ():
        if isinstance(value, dict):
            yield value
            for inner in value.values():
                yield from _specifications(inner)
        else:
            yield from _specifications(value)


def _check_parameters(
    where: str, header: dict[str, Any], layers: list[Layer], tensors: dict[str, np.ndarray]
) -> None:
    """Refuse parameters that do not fit the layers, before memory is allocated for these."""
    trial = [copy.copy(layer) for layer in layers]
    chain_sizes(trial, header["n_features"])
    wanted = {
        f"{place}.{key}": (shape, header["dtype"])
        for place, layer in leaves(trial)
        for key, shape in (layer.parameter_shapes() | layer.buffer_shapes()).items()
    }
    if wanted != {key: (values.shape, values.dtype.name) for key, values in tensors.items()}:
        raise damaged(where, "a header that does not fit its parameters")
    if not all(np.isfinite(values).all() for values in tensors.values()):
        raise damaged(where, "one with nan or infinity among its parameters")


def _layer(spec: dict[str, Any], tables: _Tables) -> Layer:
    fields = {key: value for key, value in spec.items() if key != "name"}
    for key in _INITIALIZERS:
        if isinstance(fields.get(key), dict):
            fields[key] = tables.initializers.make(fields[key], Initializer)
    if spec["name"] == "dense":
        sizes = [] if fields["n_in"] is None else [fields["n_in"]]
        sizes.append(fields["n_out"])
        options = {key: fields[key] for key in fields if key not in ("n_in", "n_out")}
        layer: Layer = tables.layers["dense"](*sizes, **options)
    else:
        kind = tables.layers[spec["name"]]
        layer = kind.from_specification(fields, lambda inner: _layer(inner, tables))
    return layer


def _coder(fields: dict[str, Any], network: Body) -> TargetCoder:
    classes = fields["classes"]
    if classes is not None:
        classes = np.array(classes, dtype=_dtype(fields["classes_dtype"]))
    return TargetCoder(
        network.n_outputs,
        network.loss.task,
        int(fields["n_levels"]),
        bool(fields["non_negative"]),
        classes,
        bool(fields["flat"]),
    )
