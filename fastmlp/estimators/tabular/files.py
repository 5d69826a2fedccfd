"""Files of tabular estimators: one safetensors file with preparation and networks.

Reading one runs no code from it, as with files of networks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import FileError, InputError
from ...io import serialization
from ...io.files import as_path, checked_path
from ...network import Network
from ...tabular.frames import are_places
from ...tabular.preparation import as_fields, from_fields

_TUPLE, _DICT = "tuple", "dict"
_SUFFIXES = serialization.SUFFIXES
_ARRAYS = ("target_mean_", "target_scale_", "errors_", "oof_")  # which some estimators have


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator."""
    where = f"{type(estimator).__name__}.save"
    target = checked_path(where, path, _SUFFIXES)
    try:
        params = {name: _plain(value) for name, value in estimator.get_params(deep=False).items()}
        json.dumps(params)
    except (TypeError, ValueError):
        raise InputError(
            where, "parameters that are numbers or text", "others",
            "pass names instead of functions, and a number as random_state",
        ) from None  # fmt: skip
    known, preparation = vars(estimator), estimator.preparation_
    fields = {
        "estimator": type(estimator).__name__,
        "params": params,
        "preparation": as_fields(preparation),
        "as_texts": sorted(known["_as_texts"]),
        "n_features": int(estimator.n_features_in_),
        "n_iter": int(estimator.n_iter_),
        "n_folds": estimator.n_folds_,
        "n_outputs": int(getattr(estimator, "n_outputs_", 0)),
        "networks": [
            serialization.checked_header(where, network) for network in estimator.networks_
        ],
    }
    tensors = {
        "preparation.center": preparation.center, "preparation.scale": preparation.scale,
        **{name: np.asarray(known[name]) for name in _ARRAYS if name in known},
    }  # fmt: skip
    if "target_range_" in known:
        low, high = known["target_range_"]
        tensors |= {"target_low": np.asarray(low), "target_high": np.asarray(high)}
    for number, network in enumerate(estimator.networks_):
        for name, values in network.named_arrays().items():
            tensors[f"networks.{number}.{name}"] = values
    serialization.store(where, target, fields, tensors)


def _plain(value: Any) -> Any:
    """A parameter as JSON has it; tuples and dicts are marked, to come back as such."""
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "to_numpy"):
        return value.tolist()
    if isinstance(value, dict):  # whose keys may be numbers
        return {_DICT: [[_plain(key), _plain(one)] for key, one in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_plain(one) for one in value]}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _as_it_was(value: Any) -> Any:
    if isinstance(value, dict) and _TUPLE in value:
        return tuple(value[_TUPLE])
    return dict(value[_DICT]) if isinstance(value, dict) else value


def load(kind: type[Any], path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote."""
    where = f"{kind.__name__}.load({str(path)!r})"
    header, tensors = serialization.read(where, as_path(where, path))
    found = header.get("estimator")
    if found != kind.__name__:
        got = "a network" if found is None else f"a {found}"
        raise FileError(where, f"a file of {kind.__name__}", got, "load it with its own class")
    try:
        return _rebuilt(kind, where, header, tensors)
    except FileError:
        raise
    except Exception as error:  # a wrong header can make anything fail
        raise serialization.damaged(where, "a header with missing or wrong entries") from error


def _rebuilt(
    kind: type[Any], where: str, header: Mapping[str, Any], tensors: dict[str, np.ndarray]
) -> Any:
    made = kind(**{name: _as_it_was(value) for name, value in header["params"].items()})
    known = vars(made)
    arrays = [tensors.pop(f"preparation.{name}") for name in ("center", "scale")]
    known["preparation_"] = from_fields(header["preparation"], arrays)
    known["_as_texts"] = frozenset(header["as_texts"])
    known["n_features_in_"], known["n_iter_"] = header["n_features"], header["n_iter"]
    known["n_folds_"] = header.get("n_folds")  # files of early versions have none
    names = known["preparation_"].names
    if names is not None and not are_places(names):
        known["feature_names_in_"] = np.array(names, object)
    known |= {name: tensors.pop(name) for name in _ARRAYS if name in tensors}
    if "target_low" in tensors:
        known["target_range_"] = tensors.pop("target_low"), tensors.pop("target_high")
        known["n_outputs_"] = header["n_outputs"]
    known["networks_"] = [
        serialization.rebuilt(Network, where, fields, _of_network(number, tensors))
        for number, fields in enumerate(header["networks"])
    ]
    classes = known["networks_"][0].classes_
    if classes is not None:
        known["classes_"] = classes
    return made


def _of_network(number: int, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    prefix = f"networks.{number}."
    return {
        key.removeprefix(prefix): values
        for key, values in tensors.items()
        if key.startswith(prefix)
    }
