"""One layer of a `Trace`: its arrays by name, and the tables that show them.

A trace has one for each layer; the plot of a trace is drawn from them.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from ..errors import InputError

_HEADS = ("layer", "array", "shape", "smallest", "largest", "norm", "from reference")
_LONGEST_TITLE = 28


class LayerTrace:
    """What one layer computed for the sample: read-only arrays, as attributes.

    Parameters
    ----------
    number : int
        Position among the network's layers.
    title : str
        The layer's repr.
    arrays : dict of str to ndarray
        By name; `Trace` explains them.
    shown : sequence of str
        Names of the arrays that tables show, in the order of the algorithm.
    is_shown_before : bool
        Whether this is an activation whose arrays the Dense layer before it also has.
    """

    def __init__(
        self,
        number: int,
        title: str,
        arrays: dict[str, np.ndarray],
        shown: Sequence[str],
        is_shown_before: bool,
    ) -> None:
        self.number, self.title, self._arrays = number, title, arrays
        self.shown, self.is_shown_before = tuple(shown), is_shown_before
        self.differences: dict[str, float] = {}

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """All arrays by name."""
        return MappingProxyType(self._arrays)

    def __getattr__(self, name: str) -> np.ndarray:
        arrays: dict[str, np.ndarray] = self.__dict__.get("_arrays", {})
        if name in arrays:
            return arrays[name]
        names = ", ".join(arrays)
        raise AttributeError(
            f"Trace, layer {self.__dict__.get('number')}: expected one of {names}, got {name!r}; "
            "choose one of these"
        )

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            expected, advice = f"one of {', '.join(self._arrays)}", "choose one of these"
            raise InputError(f"Trace, layer {self.number}", expected, repr(name), advice)
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._arrays})

    def __repr__(self) -> str:
        return as_text([heads([self]), *lines([self], [f"{self.number} {short(self.title)}"])])


def lines(block: list[LayerTrace], titles: list[str]) -> list[tuple[str, ...]]:
    """One line per array of the block's first layer, which also has those of the others."""
    layer, found = block[0], list[tuple[str, ...]]()
    for place, name in enumerate(layer.shown):
        values = layer[name]
        title = titles[place] if place < len(titles) else ""
        cells = [title, name, str(values.shape), *_figures(values)]
        if name in layer.differences:
            cells.append(f"{layer.differences[name]:.1e}")
        found.append(tuple(cells))
    return found


def _figures(values: np.ndarray) -> tuple[str, str, str]:
    """Smallest, largest and Euclidean norm."""
    with np.errstate(all="ignore"):
        wide = values.astype(np.float64)
        low, high, norm = wide.min(), wide.max(), np.linalg.norm(wide)
    return f"{low:.4g}", f"{high:.4g}", f"{norm:.4g}"


def heads(layers: list[LayerTrace]) -> tuple[str, ...]:
    return _HEADS if any(layer.differences for layer in layers) else _HEADS[:-1]


def as_text(lines: list[tuple[str, ...]]) -> str:
    """Columns side by side; text left-aligned, numbers right-aligned."""
    full = [line for line in lines if len(line) > 1]
    n_columns = max(len(line) for line in full)
    widths = [max(len(line[j]) for line in full if j < len(line)) for j in range(n_columns)]
    rows = [
        "  ".join(
            f"{cell:<{width}}" if j < 3 else f"{cell:>{width}}"
            for j, (cell, width) in enumerate(zip(line, widths, strict=False))
        ).rstrip()
        for line in lines
    ]
    return "\n".join(rows)


def as_html(lines: list[tuple[str, ...]]) -> str:
    rows = [
        "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in line)
        for tag, line in zip(["th", *["td"] * len(lines)], lines, strict=False)
    ]
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def short(title: str) -> str:
    return title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 3]}..."
