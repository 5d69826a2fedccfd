"""Docstrings of all public names are complete: shapes, defaults, errors, examples and sources.

numpydoc checks the form of each; the other checks are for what numpydoc does not cover. The names
come from `fastmlp.__all__` and the public methods of its classes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import Validator, validate

import fastmlp
from fastmlp.nn import LAYERS
from fastmlp.nn.initializers import INITIALIZERS
from fastmlp.nn.losses import LOSSES
from fastmlp.optim.optimizers import OPTIMIZERS
from fastmlp.optim.schedules import SCHEDULES

pytestmark = pytest.mark.slow  # rules for those who write docstrings

# What numpydoc asks for and this library leaves to choice.
IGNORED = {
    "ES01",  # where a summary says all, nothing has to follow it
    "EX01",  # asked of classes and functions below; methods appear in the examples of their class
    "GL02",  # docstrings that are put together from parts end without a line break
    "SA01",  # a class belongs to the module and the base class that its page shows
    "SS05",  # a summary may name what is returned: "Labels of rows."
}

# Each of these is a definition of one line that nobody has to be credited with.
NO_SOURCE = {
    "identity",
    "rescaling",
    "constant",
    "step",
    "exponential",
    "normal",
    "uniform",
    "zeros",
}


def public(member: Any) -> bool:
    """Whether it is a class, function or property of ours, not of scikit-learn's or a number."""
    if isinstance(member, property):
        return True
    is_code = inspect.isclass(member) or inspect.isroutine(member)
    return is_code and str(getattr(member, "__module__", "")).startswith("fastmlp")


def names_of_class(cls: type) -> Iterator[str]:
    """The class, and its methods and properties where they are documented first."""
    yield f"{cls.__module__}.{cls.__qualname__}"
    for key in dir(cls):
        if (key.startswith("_") and key != "__call__") or not public(getattr(cls, key)):
            continue
        owners = [base for base in cls.__mro__ if key in vars(base)]
        owner = next((base for base in owners if vars(base)[key].__doc__), owners[0])
        if owner.__module__.startswith("fastmlp"):
            yield f"{owner.__module__}.{owner.__qualname__}.{key}"


def names_of_module(module: ModuleType) -> Iterator[str]:
    """What a module lists as its own, and what that leads to."""
    for value in (getattr(module, key) for key in module.__all__):
        if inspect.isclass(value):
            yield from names_of_class(value)
        elif isinstance(value, ModuleType):
            yield from names_of_module(value)
        elif inspect.isfunction(value):
            yield f"{value.__module__}.{value.__qualname__}"


NAMES = sorted(set(names_of_module(fastmlp)))


def described(name: str) -> Validator:
    return Validator(get_doc_object(Validator._load_obj(name)))


def test_the_names_are_found() -> None:
    some = {
        "fastmlp.network.Network.fit",
        "fastmlp.nn.dense.Dense.W",
        "fastmlp.estimators.answers.Answers.transform",
        "fastmlp.serving.predictor.Predictor.__call__",
        "fastmlp.datasets.tables.load_table",
        "fastmlp.optim.schedules.Cosine",
    }
    assert some <= set(NAMES)
    assert not any("request" in name for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_numpydoc_has_no_complaint(name: str) -> None:
    found = [f"{code}: {text}" for code, text in validate(name)["errors"] if code not in IGNORED]
    assert found == []


def stated_defaults(names: str, kind: str) -> dict[str, Any]:
    """Defaults by name from a line such as "a, b : float, default 0 and 1"; optional is None."""
    listed, (_, given, text) = names.split(", "), kind.partition("default ")
    if not given:
        return dict.fromkeys(listed) if "optional" in kind else {}
    texts = text.split(" and ") if " and " in text else [text] * len(listed)
    return {key: eval(value, {"nan": np.nan}) for key, value in zip(listed, texts, strict=True)}


def as_written(default: Any) -> Any:
    """A default as docstrings put it: types by name, and an empty list of one's own as optional."""
    return None if repr(default) == "<factory>" else getattr(default, "__name__", default)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_the_signature(name: str) -> None:
    doc = described(name)
    if isinstance(doc.obj, property):
        return
    options = inspect.signature(doc.obj).parameters
    defaults = {key: p.default for key, p in options.items() if p.default is not p.empty}
    wanted = {key: as_written(value) for key, value in defaults.items()}
    stated: dict[str, Any] = {}
    for names, kind, _ in doc.doc["Parameters"]:
        stated |= stated_defaults(names, kind)
    assert stated == wanted


@pytest.mark.parametrize("name", NAMES)
def test_arrays_have_shapes(name: str) -> None:
    doc = described(name).doc
    entries = [entry for section in ("Parameters", "Returns") for entry in doc[section]]
    kinds = [kind for _, kind, _ in entries if re.match(r"(nd)?array\b", kind)]
    assert [kind for kind in kinds if "shape" not in kind] == []


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_told(name: str) -> None:
    """What refuses an input says when."""
    doc = described(name)
    members = [getattr(doc.obj, "fget", doc.obj)]
    if inspect.isclass(doc.obj):
        members = [vars(doc.obj).get(key) for key in ("__init__", "__post_init__")]
    members = [inspect.unwrap(m) for m in members if m]
    written = [m for m in members if m.__code__.co_filename != "<string>"]  # by dataclass
    code = "".join(map(inspect.getsource, written))
    refuses = re.search(r"\braise (?!NotImpl)\w|\bchecks\.\w+\(|\._check\(|\brequire\(", code)
    assert doc.doc["Raises"] or not refuses


@pytest.mark.parametrize("name", [name for name in NAMES if name.rpartition(".")[2][0] != "_"])
def test_classes_and_functions_have_an_example(name: str) -> None:
    doc = described(name)
    is_method = inspect.isclass(Validator._load_obj(name.rpartition(".")[0]))
    assert is_method or doc.examples


RULES = [cls for table in (LAYERS, LOSSES, OPTIMIZERS, SCHEDULES, INITIALIZERS) for cls in table]


@pytest.mark.parametrize("cls", RULES, ids=lambda cls: cls.name)
def test_formulas_have_sources(cls: Any) -> None:
    doc = described(f"{cls.__module__}.{cls.__qualname__}").doc
    assert re.search(r" (=|<-) ", "\n".join(doc["Notes"]))
    assert doc["References"] or cls.name in NO_SOURCE
