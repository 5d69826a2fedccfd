"""What `fastmlp trace` prints: the training step of one sample in four parts.

Forward, loss, backward and update each show their formulas with the first few numbers, as in a
calculation by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .layer_trace import LayerTrace
from .trace import Trace

_N_NUMBERS = 4  # numbers of an array that are printed
_MOST_OUTPUTS = 12  # if there are more, only the target's and the largest predictions are shown
_INK = " .:-=+*#%@"


def told(trace: Trace, image: np.ndarray | None = None) -> Iterator[str]:
    """The text, line by line; an image (height, width) is drawn with characters."""
    if image is not None:
        yield from _drawn(image)
    yield "FORWARD, from the sample to the outputs"
    first = trace[0]
    yield _line("the sample", "x", first.x if "x" in first else first.z)
    for layer in trace:
        yield from _forward(layer)
    yield ""
    yield "LOSS, by how much prediction and target differ"
    yield from _outputs(trace)
    penalty = f", and the penalties {trace.penalty:.6g}" if trace.penalty else ""
    yield f"  loss {trace.loss:.6g}{penalty}"
    yield ""
    yield "BACKWARD, with delta = d loss / d z for each layer"
    above = None
    for block in reversed(trace.blocks()):
        yield from _backward(block[0], above)
        above = block[0].number
    yield ""
    if trace.optimizer is not None:
        yield from _update(trace)
        yield ""
    yield from _checked(trace)


def _forward(layer: LayerTrace) -> Iterator[str]:
    title = f"{layer.number} {layer.title}"
    if "x" in layer:
        yield _line(title, "z = x W + b" if layer.number == 0 else "z = a W + b", layer.z)
    else:
        yield _line(title, "a = f(z)", layer.a)


def _backward(layer: LayerTrace, above: int | None) -> Iterator[str]:
    """Delta and gradients of one layer, from the delta of the layer above if there is one."""
    title = f"{layer.number} {layer.title}"
    if "slope" in layer and above is not None:
        yield _line(title, "slope = f'(z)", layer.slope)
        yield _line("", f"da, from delta of {above}", layer.da)
        yield _line("", "delta = da * slope", layer.delta)
    else:
        yield _line(title, "delta, from the loss" if above is None else "delta", layer.delta)
    for name in layer.shown:
        if name.startswith("d") and name != "delta":
            came = "x" if layer.number == 0 else "a"
            formulas = {"dW": f"dW = {came} delta^T", "db": "db = delta"} if "x" in layer else {}
            yield _line("", formulas.get(name, name), layer[name])


def _update(trace: Trace) -> Iterator[str]:
    rate = "" if trace.learning_rate is None else f" at learning rate {trace.learning_rate:g}"
    yield f"UPDATE, one step of {trace.optimizer}{rate}"
    for layer in trace:
        title = f"{layer.number} {layer.title}"
        for name in layer.shown:
            if name.startswith("update_"):
                is_plain = trace.optimizer == "sgd"
                gradient = name.replace("update_", "d")
                formula = f"{name} = -{trace.learning_rate:g} {gradient}" if is_plain else name
                yield _line(title, formula, layer[name])
                title = ""
    yield f"  loss of this sample {trace.loss:.6g} -> {trace.loss_after:.6g}"


def _checked(trace: Trace) -> Iterator[str]:
    yield "CHECK against the per-sample algorithm in fastmlp/reference.py"
    if trace.no_reference:
        yield f"  not possible: it has no counterpart for {trace.no_reference}"
        return
    worst = max(trace.differences, key=lambda name: trace.differences[name])
    n_arrays = len(trace.differences)
    yield f"  largest difference in {n_arrays} arrays: {trace.differences[worst]:.1e}, in {worst}"


def _line(title: str, formula: str, values: np.ndarray) -> str:
    """An array's formula, shape and first numbers, from the first row that is not all zeros."""
    start = _first_row(values)
    chosen = values[start:].reshape(-1)
    more = " ..." if values.size > _N_NUMBERS else ""
    numbers = " ".join(f"{value:10.3g}" for value in chosen[:_N_NUMBERS])
    at = f"[{start}]" if start else ""
    return f"  {title[:22]:<22} {formula:<22} {values.shape!s:<11}{at:>6}{numbers}{more}".rstrip()


def _first_row(values: np.ndarray) -> int:
    """The first row that is not all zeros: black pixels and their weights are not printed."""
    rows = values.reshape(len(values), -1).any(axis=1)
    start = int(np.argmax(rows))
    return start if values[start:].size > _N_NUMBERS else 0


def _outputs(trace: Trace) -> Iterator[str]:
    """Prediction and target of each output, or of the most important ones."""
    n = trace.prediction.size
    chosen = list(range(n))
    if n > _MOST_OUTPUTS:
        largest = np.argsort(-trace.prediction, kind="stable")[: _MOST_OUTPUTS // 2]
        chosen = sorted({*largest.tolist(), int(np.argmax(trace.target))})
        yield f"  {len(chosen)} of {n} outputs: the largest predictions and the target"
    labels = trace.classes if trace.classes is not None and trace.classes.size == n else None
    named = labels is not None
    names = [str(i if labels is None else labels[i]) for i in chosen]
    width = max(len(name) for name in [*names, "output"])
    yield f"  {'class' if named else 'output':>{width}}  prediction  target"
    for name, i in zip(names, chosen, strict=True):
        share = float(trace.prediction[i]) if named else 0.0
        bar = "#" * round(20 * share)
        numbers = f"{trace.prediction[i]:10.4g}  {trace.target[i]:6.4g}  {bar}"
        yield f"  {name:>{width}}  {numbers}".rstrip()


def _drawn(image: np.ndarray) -> Iterator[str]:
    """Grey values as characters, two per pixel because characters are narrow."""
    low, span = float(image.min()), float(np.ptp(image)) or 1.0
    places = ((image - low) / span * (len(_INK) - 1)).round().astype(int)
    inked = [r for r, row in enumerate(places) if row.any()]
    for row in places[inked[0] : inked[-1] + 1] if inked else []:
        yield f"  {''.join(2 * _INK[place] for place in row)}".rstrip()
    yield ""
