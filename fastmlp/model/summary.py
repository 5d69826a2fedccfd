"""Summary of a network: its layers with their sizes, parameters and memory, as text.

The text is returned, not printed; at a prompt it is shown without quotes.
"""

from __future__ import annotations

import math

from ..nn import Layer, leaves
from ..optim.optimizers import Adam
from .body import Body

_HEADER = ("", "layer", "outputs", "parameters")


class Summary(str):
    """Text that is shown without quotes and escapes at a prompt and in a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def summary(network: Body) -> Summary:
    """A table of the layers of a network, with totals."""
    rows = [_HEADER, *_rows(network)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"Network of {network.dtype.name}, loss {network.loss.name}"]
    for number, layer, outputs, parameters in rows:
        line = (
            f"{number:>{widths[0]}}  {layer:<{widths[1]}}  "
            f"{outputs:>{widths[2]}}  {parameters:>{widths[3]}}"
        )
        lines.append(line)
    return Summary("\n".join([*lines, _total(network)]))


def _rows(network: Body) -> list[tuple[str, str, str, str]]:
    """One row per layer; layers inside it follow with their places."""
    found = list[tuple[str, str, str, str]]()
    for number, layer in enumerate(network.layers):
        found.append(_row(network, f"{number}", layer))
        if layer.inner:
            found += [
                _row(network, f"{number}{place[1:]}", leaf) for place, leaf in leaves([layer])
            ]
    return found


def _row(network: Body, place: str, layer: Layer) -> tuple[str, str, str, str]:
    n_out = "?" if layer.n_out is None else f"{layer.n_out:,}"
    n_parameters = f"{_n_parameters(layer):,}" if network.is_built else "?"
    return place, type(layer).__name__ if layer.inner else repr(layer), n_out, n_parameters


def _n_parameters(layer: Layer) -> int:
    every = (leaf for _, leaf in leaves([layer]))
    return sum(math.prod(shape) for leaf in every for shape in leaf.parameter_shapes().values())


def _total(network: Body) -> str:
    if not network.is_built:
        return "not built yet: all sizes are known after the first fit, or build(n_features)"
    n_bytes = network.params.nbytes
    trained = 2 + Adam().n_vectors  # parameters, gradients and Adam's state
    return (
        f"{network.n_features:,} inputs, {network.params.size:,} parameters: {_bytes(n_bytes)}, "
        f"with gradients and the state of Adam {_bytes(trained * n_bytes)}"
    )


def _bytes(number: int) -> str:
    """A size in readable units: "640 bytes", "1.4 MB"."""
    if number < 1000:
        return f"{number} bytes"
    size, units = number / 1000, ["kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"
