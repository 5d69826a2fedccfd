"""The reference: a page for each group of `fastmlp.__all__`, and one that lists them all.

Groups follow `fastmlp._MODULES` and the public submodules; titles and texts are their docstrings.
A name added there appears without a change here.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import fastmlp


class Group(NamedTuple):
    """Names that a page of the reference describes, and where users import them from."""

    page: str
    module: ModuleType
    origin: str
    names: list[str]

    @property
    def title(self) -> str:
        """The head of the module's first sentence."""
        return re.split(r"[:,]", inspect.getdoc(self.module) or self.page)[0]


def groups() -> Iterator[Group]:
    """Names of the package itself by their modules, then the submodules with theirs."""
    for place, names in fastmlp._MODULES.items():
        yield Group(_page_of(place), importlib.import_module(f"fastmlp.{place}"), "fastmlp", names)
    for place in fastmlp._SUBMODULES.values():
        module = importlib.import_module(f"fastmlp.{place}")
        yield Group(_page_of(place), module, module.__name__, module.__all__)


def _page_of(place: str) -> str:
    """The page of a module: its own name, without the rooms that it is in."""
    return place.rpartition(".")[2]


def pages() -> Iterator[tuple[str, str]]:
    """File names and contents, in reStructuredText."""
    found = list(groups())
    yield "index.rst", _index(found)
    for group in found:
        yield f"{group.page}.rst", _page(group)


def _index(found: list[Group]) -> str:
    parts = [
        _heading("Reference", "="),
        f"fastmlp {fastmlp.__version__}. All names below without a module are imported from "
        "``fastmlp`` itself.\n",
        ".. toctree::\n   :hidden:\n\n   command-line\n   messages\n",
        *(f".. toctree::\n   :hidden:\n\n   {group.page}\n" for group in found),
        "There are also the :doc:`command line <command-line>` and "
        ":doc:`every error message <messages>`.\n",
    ]
    for group in found:
        parts += [
            _heading(group.title, "-"),
            f".. currentmodule:: {group.origin}\n",
            _summary(group, "   :nosignatures:\n"),
        ]
    return "\n".join(parts)


def _page(group: Group) -> str:
    return "\n".join(
        [
            _heading(group.title, "="),
            inspect.getdoc(group.module) or "",
            f"\n.. currentmodule:: {group.origin}\n",
            _summary(group, "   :toctree: .\n   :nosignatures:\n"),
        ]
    )


def _summary(group: Group, options: str) -> str:
    names = "".join(f"   {name}\n" for name in group.names)
    return f".. autosummary::\n{options}\n{names}"


def _heading(text: str, mark: str) -> str:
    return f"{text}\n{mark * len(text)}\n"
