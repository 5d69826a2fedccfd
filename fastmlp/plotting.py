"""Plots of a fit: curves, confusion matrix, weights, and a report with all of them.

Each function draws on the given axes, or on a new figure that is not registered with pyplot.
matplotlib, an optional package, is imported when the first plot is drawn.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import InputError, InputTypeError, require
from .inputs import checks
from .io.files import checked_path, replacing
from .nn.losses import quantile_levels
from .serving import evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .datasets import Split
    from .model.body import Body
    from .tracing.layer_trace import LayerTrace
    from .training.history import History

__all__ = [
    "plot_confusion",
    "plot_history",
    "plot_predictions",
    "plot_rates",
    "plot_regression",
    "plot_trace",
    "plot_weights",
    "tabular_report",
    "training_report",
]

# Okabe and Ito's colours, which stay apart in every common kind of colour blindness.
_BLUE, _VERMILION, _GREEN = "#0072B2", "#D55E00", "#009E73"
_SERIES = (_BLUE, "#E69F00", "#CC79A7", _GREEN, "#56B4E9", _VERMILION)
_ABOVE: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "frameon": False}
_MAX_NUMBERED = 30  # with more classes than this a cell is too small for a number
_MAX_BARS = 100  # units that are drawn apart
_MAX_HIDDEN = 4  # layers in the picture of a trace; of more, the first and last ones
_OF_STANDARDISED = "loss (of the standardised target)"
SUFFIXES = (".png", ".svg", ".pdf")


class Traced(Protocol):
    """The parts of `Trace` that plots use; its module imports this one."""

    target: np.ndarray
    prediction: np.ndarray
    classes: np.ndarray | None

    def blocks(self) -> list[list[LayerTrace]]: ...

    def summary(self) -> list[str]: ...


def require_matplotlib(where: str) -> None:
    """Raise an error if matplotlib is missing; to be called before a long training."""
    require("matplotlib.figure", where)


def plot_rates(found: Any, ax: Axes | None = None) -> Axes:
    """Draw the losses of a learning-rate range test against the rate, and the suggested rate.

    Parameters
    ----------
    found : RateRange
        As `find_learning_rate` returns it.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    Axes
        With a logarithmic axis of rates.

    Raises
    ------
    InputError
        Without matplotlib.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import RateRange
    >>> from fastmlp.plotting import plot_rates
    >>> losses = np.array([2.0, 1.0, 3.0])
    >>> ax = plot_rates(RateRange(np.array([0.01, 0.1, 1.0]), losses, losses, 0.1))
    >>> ax.get_xscale(), [line.get_label() for line in ax.lines]
    ('log', ['loss of a batch', 'smoothed', 'suggestion: 0.1'])
    """
    ax = _axes("plot_rates", ax, (7, 4.5))
    ax.plot(found.rates, found.losses, color=_BLUE, alpha=0.35, label="loss of a batch")
    ax.plot(found.rates, found.smoothed, color=_BLUE, label="smoothed")
    label = f"suggestion: {found.suggestion:.2g}"
    ax.axvline(found.suggestion, color=_VERMILION, linestyle="--", label=label)
    # The losses of a diverging run would squeeze all others to the bottom.
    start, least = found.smoothed[0], found.smoothed.min()
    ax.set_ylim(min(least, found.losses.min()) - 0.1 * abs(start - least), None)
    if found.losses.max() > start + 2 * (start - least) and start > least:
        ax.set_ylim(top=start + 2 * (start - least))
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
    ax.grid(alpha=0.3)
    ax.legend(**_ABOVE)
    return ax


def plot_history(
    history: History,
    ax: Axes | None = None,
    score_name: str = "score",
    loss_name: str = "loss",
) -> Axes:
    """Draw losses by epoch and, on a second axis on the right, the validation score.

    The loss axis starts at 0 and the score axis ends at the best possible score, so that noise is
    not exaggerated.

    Parameters
    ----------
    history : History
        As `Network.fit` returns it.
    ax : matplotlib Axes, optional
        By default those of a new figure.
    score_name : str, default "score"
        Name of the score, for its label.
    loss_name : str, default "loss"
        Name of the loss, for its label.

    Returns
    -------
    Axes
        The one with the losses.

    Raises
    ------
    InputError
        For a history without epochs, or without matplotlib.

    Examples
    --------
    >>> from fastmlp import History
    >>> from fastmlp.plotting import plot_history
    >>> ax = plot_history(History(loss=[0.9, 0.4], validation_loss=[1.0, 0.6]))
    >>> [line.get_label() for line in ax.lines]
    ['training loss', 'validation loss']
    """
    ax, n = _axes("plot_history", ax, (7, 4.5)), history.epochs
    if not n:
        raise InputError("plot_history", "at least one epoch", "an empty history", "train first")
    lines = _curve(ax, history.loss, "training loss", _BLUE, "-")
    if history.validation_loss:
        lines += _curve(ax, history.validation_loss, "validation loss", _VERMILION, "--")
    if history.validation_score:
        label, current = f"validation {score_name}", ax.figure.gca()
        twin = ax.twinx()
        ax.figure.sca(current)  # new axes become pyplot's current ones
        twin.set_ylabel(label)
        lines += _curve(twin, history.validation_score, label, _GREEN, "-.")
        twin.set_ylim(*_score_limits(history.validation_score))
    margin = min(0.02 * (n - 1), 0.5) or 0.5  # too little for a tick at epoch 0
    ax.set(xlabel="epoch", ylabel=loss_name, xlim=(1 - margin, n + margin))
    if min(history.loss + history.validation_loss) >= 0:
        ax.set_ylim(bottom=0)
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    ax.grid(alpha=0.3)
    ax.legend(handles=lines, **_ABOVE)  # where it covers no line
    return ax


def _score_limits(scores: Sequence[float]) -> tuple[float, float]:
    """Limits of the score axis, on which a change of 0.01 must look small."""
    low, high = min(scores), max(scores)
    if high > 1:  # some other score
        wide = max(high - low, 0.2 * high)
        return low - 0.05 * wide, low + 1.05 * wide
    best = 1.0 if high > 0 else 0.0  # minus a loss is 0 at best
    low = min(low, best - 0.2) if best else low
    margin = 0.02 * (best - low) or 0.01
    return low - margin, best + margin


def _curve(ax: Axes, values: list[float], label: str, color: str, line: str) -> list[Any]:
    """One value per epoch, with markers if there are few, because a single one makes no line."""
    style = line + "o" * (len(values) <= 30)
    return ax.plot(range(1, len(values) + 1), values, style, color=color, label=label, ms=4)


def plot_confusion(
    true: Any, predicted: Any, labels: Sequence[Any] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw a confusion matrix: counts, shaded by their share of the row.

    Parameters
    ----------
    true, predicted : array of shape (n,)
        Labels. Cells of more than 30 classes have no numbers.
    labels : sequence, optional
        Classes to show first and in this order, such as `network.classes_`.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    Axes
        With one image, which has a row for each true class, and a text in each cell.

    Raises
    ------
    InputError
        For arrays of other shapes, or without matplotlib.

    Examples
    --------
    >>> from fastmlp.plotting import plot_confusion
    >>> ax = plot_confusion(["cat", "dog", "dog"], ["cat", "cat", "dog"])
    >>> [text.get_text() for text in ax.texts]
    ['1', '0', '1', '1']
    """
    true, predicted = _labels("plot_confusion", true, predicted)
    ax = _axes("plot_confusion", ax, (6, 6))
    counts, classes = _confusion(true, predicted, labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    side = min(_extent(ax))
    if len(classes) <= _MAX_NUMBERED:
        size = _font_size(side / len(classes), len(str(counts.max())))
        luminance = image.cmap(shares)[..., :3] @ [0.299, 0.587, 0.114]
        for (row, column), count in np.ndenumerate(counts):
            # Zeros are drawn lighter, so that the few mistakes stand out.
            color = "white" if luminance[row, column] < 0.5 else "black" if count else "0.45"
            ax.text(column, row, str(count), ha="center", va="center", size=size, color=color)
    ticks = range(0, len(classes), math.ceil(len(classes) / _MAX_NUMBERED))
    names = [_name(classes[i]) for i in ticks]
    size = _font_size(side / len(ticks), 1)
    narrow = _font_size(side / len(ticks), max(map(len, names)) + 1) < size
    ax.set_xticks(ticks, names, size=size, rotation=90 if narrow else 0)
    ax.set_yticks(ticks, names, size=size)
    ax.set(xlabel="predicted class", ylabel="true class")
    return ax


def _confusion(
    true: list[Any], predicted: list[Any], labels: Sequence[Any] | None
) -> tuple[np.ndarray, list[Any]]:
    """Counts (n_classes, n_classes), one row for each true class, and the classes."""
    first = [] if labels is None else np.asarray(labels, object).tolist()
    others = {*true, *predicted}.difference(first)
    classes = first + sorted(others, key=lambda label: (isinstance(label, str), label))
    place = {label: i for i, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, ([place[label] for label in true], [place[label] for label in predicted]), 1)
    return counts, classes


def plot_weights(
    W: Any, image_shape: tuple[int, int], ax: Axes | None = None, n_max: int = 64
) -> Axes:
    """Draw the incoming weights of each unit as an image, largest norm first.

    Parameters
    ----------
    W : array of shape (n_pixels, n_units)
        Weights of the first layer, a column for each unit.
    image_shape : tuple of two ints
        Height and width of an image, in pixels.
    ax : matplotlib Axes, optional
        By default those of a new figure.
    n_max : int, default 64
        Maximum number of units that are shown.

    Returns
    -------
    Axes
        With one image: units row by row, separated by a masked pixel. The colour scale is symmetric
        about 0; at most the 0.5 % largest weights exceed it.

    Raises
    ------
    InputError
        If the weights are not finite or do not have that shape, or without matplotlib.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.plotting import plot_weights
    >>> ax = plot_weights(np.eye(4), (2, 2))
    >>> ax.images[0].get_array().shape
    (5, 5)
    """
    n_max = checks.whole_number("plot_weights", "n_max", n_max, 1)
    W = checks.matrix("plot_weights", "W", W).astype(np.float64)
    order = np.argsort(-np.linalg.norm(W, axis=0), kind="stable")[:n_max]
    images = _images("plot_weights", W.T[order], image_shape)
    n, height, width = images.shape
    n_columns = min(n, math.ceil(math.sqrt(n * height / width)))  # the whole is about square
    largest = float(np.abs(images).max())
    limit = float(np.quantile(np.abs(images), 0.995)) or largest or 1.0
    ax = _axes("plot_weights", ax, (6, 5.5))
    shown = ax.imshow(_grid(images, n_columns, 1, 1), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_axis_off()
    ends = "both" if largest > limit else "neither"
    ax.figure.colorbar(shown, ax=ax, label="weight", fraction=0.046, pad=0.03, extend=ends)
    return ax


def plot_predictions(
    X: Any,
    true: Any,
    predicted: Any,
    image_shape: tuple[int, int],
    ax: Axes | None = None,
    n_max: int = 20,
    n_columns: int = 10,
) -> Axes:
    """Draw images with their predicted labels; a wrong one has a frame and "predicted ≠ true".

    Parameters
    ----------
    X : array of shape (n, n_pixels)
        One image for each row.
    true, predicted : array of shape (n,)
        Labels.
    image_shape : tuple of two ints
        Height and width of an image, in pixels.
    ax : matplotlib Axes, optional
        By default those of a new figure.
    n_max, n_columns : int, default 20 and 10
        The first `n_max` rows of X are shown, `n_columns` side by side.

    Returns
    -------
    Axes
        With one image, higher values darker, and a text below each tile.

    Raises
    ------
    InputError
        For arrays that do not fit each other or the images, or without matplotlib.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.plotting import plot_predictions
    >>> ax = plot_predictions(np.eye(4), [0, 1, 2, 3], [0, 1, 2, 0], (2, 2))
    >>> [text.get_text() for text in ax.texts]
    ['0', '1', '2', '0 ≠ 3']
    """
    where = "plot_predictions"
    require_matplotlib(where)
    from matplotlib.patches import Rectangle

    n_max = checks.whole_number(where, "n_max", n_max, 1)
    n_columns = checks.whole_number(where, "n_columns", n_columns, 1)
    X = checks.matrix(where, "X", X)
    true, predicted = _labels(where, true, predicted)
    checks.same_length(where, "true", np.asarray(true), len(X))
    images = _images(where, X[:n_max], image_shape)
    n, height, width = images.shape
    n_columns, below, beside = min(n, n_columns), math.ceil(0.5 * height), math.ceil(0.2 * width)
    ax = _axes(where, ax, (1.1 * n_columns, 1.6 * math.ceil(n / n_columns)))
    grid = _grid(images, n_columns, below, beside)
    ax.imshow(grid, cmap="gray_r")
    ax.set_ylim(len(grid) - 0.5 + below, -0.5)  # the last row of texts is below the image
    ax.set_axis_off()
    captions = [_caption(*pair) for pair in zip(true[:n], predicted[:n], strict=True)]
    longest = max(len(line) for text in captions for line in text.split("\n"))
    size = _font_size(_extent(ax)[0] / n_columns, longest)
    for i, text in enumerate(captions):
        row, column = divmod(i, n_columns)
        left, top = column * (width + beside) - 0.5, row * (height + below) - 0.5
        wrong = true[i] != predicted[i]
        x, y, weight = left + width / 2, top + 1.08 * height, "bold" if wrong else "normal"
        ax.text(x, y, text, size=size, weight=weight, ha="center", va="top", linespacing=1)
        frame: Any = {"ec": _VERMILION, "lw": 2.5} if wrong else {"ec": "0.8", "lw": 0.6}
        ax.add_patch(Rectangle((left, top), width, height, fill=False, clip_on=False, **frame))
    return ax


def _caption(true: Any, predicted: Any) -> str:
    if true == predicted:
        return _name(predicted, 10)
    space = "\n" if len(f"{true}{predicted}") > 5 else " "
    return f"{_name(predicted, 10)}{space}≠ {_name(true, 10)}"


def plot_regression(
    true: Any, predicted: Any, ax: Axes | None = None, names: Sequence[str] | None = None
) -> Axes:
    """Draw predicted against true numbers, and the diagonal where they agree.

    Parameters
    ----------
    true, predicted : array of shape (n,) or (n, n_targets)
        Numbers; each target gets a colour and a marker.
    ax : matplotlib Axes, optional
        By default those of a new figure.
    names : sequence of n_targets str, optional
        For the legend, which is drawn for several targets.

    Returns
    -------
    Axes
        With the diagonal as its first line, then one for each target.

    Raises
    ------
    InputError
        For arrays of different shapes or not finite, or without matplotlib.

    Examples
    --------
    >>> from fastmlp.plotting import plot_regression
    >>> ax = plot_regression([1.0, 2.0], [1.5, 1.75])
    >>> ax.lines[1].get_xydata().tolist()
    [[1.0, 1.5], [2.0, 1.75]]
    """
    where = "plot_regression"
    x, y = _numbers(where, "true", true), _numbers(where, "predicted", predicted)
    if x.shape != y.shape:
        raise InputError(
            where,
            "true and predicted of one shape",
            f"{x.shape} and {y.shape}",
            "pass one of each a row",
        )
    ax = _axes(where, ax, (6, 6))
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    ax.plot(limits, limits, "--", color="0.4", linewidth=1)
    # Rasterized, because files with thousands of vector points are slow to display.
    style: Any = {"ms": 4, "mew": 0, "alpha": min(0.8, 0.15 + 100 / len(x)), "rasterized": True}
    for i, name in enumerate(names or [f"target {i + 1}" for i in range(x.shape[1])]):
        marker, color = "os^D"[i % 4], _SERIES[i % len(_SERIES)]
        ax.plot(x[:, i], y[:, i], marker, color=color, label=name, **style)
    if x.shape[1] > 1:
        ax.legend(handles=ax.lines[1:], **_ABOVE)
    ax.set(xlim=limits, ylim=limits, aspect="equal", xlabel="true", ylabel="predicted")
    ax.grid(alpha=0.3)
    return ax


def plot_trace(
    trace: Traced, image_shape: tuple[int, int] | None = None, figure: Figure | None = None
) -> Figure:
    """Draw one sample's forward pass through a network, and below it the backward pass.

    In the upper row, from left to right: the sample, the activations of each hidden layer, and the
    prediction next to the target. Below each is the gradient of the loss with respect to it, which
    for layers is delta. If there are more than four hidden layers, the first and the last two are
    shown.

    Parameters
    ----------
    trace : Trace
        As `Network.trace` returns it.
    image_shape : tuple of two ints, optional
        Height and width in pixels, if the sample is an image.
    figure : matplotlib Figure, optional
        By default a new one.

    Returns
    -------
    Figure
        With two rows of axes, a column for the sample and each layer.

    Raises
    ------
    InputError
        For a shape that does not fit the sample, or without matplotlib.

    Examples
    --------
    >>> from fastmlp import Dense, Network, ReLU
    >>> from fastmlp.plotting import plot_trace
    >>> trace = Network([Dense(4, 3), ReLU(), Dense(2)]).trace([0.0, 1.0, 1.0, 0.0], 1)
    >>> len(plot_trace(trace, image_shape=(2, 2)).axes)
    6
    """
    where = "plot_trace"
    require_matplotlib(where)
    from matplotlib.figure import Figure

    hidden, n_left_out = _hidden_blocks(trace)
    x, dx = _ends_of_input(trace)
    if image_shape is not None:
        _images(where, x[np.newaxis], image_shape)
    if figure is None:
        figure = Figure(_trace_size(trace), layout="constrained")
    rows = figure.subplots(2, len(hidden) + 2, squeeze=False)
    _draw_input(rows[0, 0], rows[1, 0], x, dx, image_shape)
    for place, block in enumerate(hidden, 1):
        layer = block[0]
        _draw_units(rows[0, place], layer.a, _BLUE)
        rows[0, place].set_title(_titles(block), size="medium")
        rows[0, place].set_ylabel("a")
        _draw_units(rows[1, place], layer.delta, _VERMILION)
        rows[1, place].set(xlabel="unit", ylabel="delta")
    _draw_outputs(rows[0, -1], rows[1, -1], trace)
    left_out = f" ({n_left_out} hidden layers not shown)" if n_left_out else ""
    text = _name(f"{trace.summary()[0]}{left_out}", 1000)
    figure.suptitle(textwrap.fill(text, 26 * (len(hidden) + 2)), size="medium")
    figure.supylabel("← backward          forward →", size="medium", color="0.3")
    return figure


def show_trace(trace: Traced, image_shape: tuple[int, int] | None) -> Figure:
    """`plot_trace` on a figure that pyplot knows and shows."""
    require_matplotlib("Trace.plot")
    if image_shape is not None:
        _images("Trace.plot", _ends_of_input(trace)[0][np.newaxis], image_shape)
    from matplotlib import pyplot

    return plot_trace(
        trace, image_shape, pyplot.figure(figsize=_trace_size(trace), layout="constrained")
    )


def _trace_size(trace: Traced) -> tuple[float, float]:
    return 2.7 * (len(_hidden_blocks(trace)[0]) + 2), 5.4


def _hidden_blocks(trace: Traced) -> tuple[list[list[LayerTrace]], int]:
    """The hidden blocks to draw, and how many are omitted in the middle."""
    blocks = [
        block
        for block in trace.blocks()[:-1]
        if "x" in block[0] or not np.array_equal(block[0].a, block[0].z)
    ]
    half = _MAX_HIDDEN // 2
    if len(blocks) <= _MAX_HIDDEN:
        return blocks, 0
    return blocks[:half] + blocks[-half:], len(blocks) - 2 * half


def _ends_of_input(trace: Traced) -> tuple[np.ndarray, np.ndarray]:
    """The sample, and the gradient of the loss with respect to it."""
    first = trace.blocks()[0][0]
    return (first.x, first.dx) if "x" in first else (first.z, first.delta)


def _draw_input(
    above: Axes, below: Axes, x: np.ndarray, dx: np.ndarray, image_shape: tuple[int, int] | None
) -> None:
    """The sample and its gradient, as images if it is one."""
    if image_shape is None:
        _draw_units(above, x, "0.3")
        _draw_units(below, dx, _VERMILION)
        below.set(xlabel="column", ylabel="d loss / d x")
    else:
        limit = float(np.abs(dx).max()) or 1.0
        above.imshow(x.reshape(image_shape), cmap="gray_r")
        below.imshow(dx.reshape(image_shape), cmap="RdBu_r", vmin=-limit, vmax=limit)
        for ax in (above, below):
            ax.set(xticks=[], yticks=[])
        below.set_xlabel(f"d loss / d x\nblue {-limit:.2g}, red {limit:.2g}")
    above.set_title("the sample x", size="medium")


def _titles(block: list[LayerTrace]) -> str:
    return "\n".join(f"{layer.number} {_name(layer.title, 24)}" for layer in block)


def _draw_units(ax: Axes, values: np.ndarray, color: str) -> None:
    """One bar for each unit, however many there are."""
    edges = np.arange(values.size + 1) - 0.5
    if values.size <= _MAX_BARS:
        ax.bar(edges[:-1] + 0.5, values, 0.8, color=color)
    else:  # as one shape: thousands of bars take seconds to draw
        ax.stairs(values, edges, fill=True, color=color, baseline=0)
    ax.axhline(0, color="0.3", linewidth=0.6)
    beside = 0.5 if values.size == 1 else 0.1
    ax.set_xlim(edges[0] - beside, edges[-1] + beside)
    ax.locator_params(axis="x", integer=True, nbins=6, min_n_ticks=1)
    ax.grid(axis="y", alpha=0.3)


def _draw_outputs(above: Axes, below: Axes, trace: Traced) -> None:
    """Prediction next to target, and below it delta."""
    places = np.arange(trace.prediction.size)
    above.bar(places - 0.2, trace.prediction, 0.4, color=_BLUE, label="prediction")
    above.bar(places + 0.2, trace.target, 0.4, color=_GREEN, label="target")
    above.axhline(0, color="0.3", linewidth=0.6)
    low, high = above.get_ylim()
    above.set_ylim(low, high + 0.25 * (high - low))  # room for the legend
    above.legend(loc="upper center", ncols=2, fontsize="small", frameon=False, columnspacing=1)
    above.grid(axis="y", alpha=0.3)
    block = trace.blocks()[-1]
    above.set_title(_titles(block), size="medium")
    _draw_units(below, block[0].delta, _VERMILION)
    below.set(xlabel="output", ylabel="delta")
    above.set_xlim(below.get_xlim())
    above.locator_params(axis="x", integer=True, nbins=6, min_n_ticks=1)
    if trace.classes is not None and trace.classes.size == places.size <= _MAX_NUMBERED:
        names = [_name(label, 10) for label in trace.classes]
        is_long = max(map(len, names)) > 2
        above.set_xticks(places, [""] * len(names) if is_long else names)
        below.set_xticks(places, names, rotation=90 if is_long else 0)
        below.set_xlabel("class")


def training_report(
    path: str | os.PathLike[str],
    network: Body,
    history: History,
    split: Split,
    image_shape: tuple[int, int] | None = None,
    *,
    scaled: bool = False,
) -> Figure:
    """Write one figure with the curves of a fit and the network's results on the test rows.

    Classes get a confusion matrix and, for images, the first Dense layer's weights and some test
    images, wrong ones first; a regression gets its predictions against the true numbers.

    Parameters
    ----------
    path : str or path
        A file named .png, .svg or .pdf in a folder that exists; an old file is replaced atomically.
    network : Network
        Fitted on the split's training rows.
    history : History
        As that fit returned it.
    split : Split
        X_test of shape (n, n_features) and y_test are shown.
    image_shape : tuple of two ints, optional
        Height and width of an image, in pixels; by default the split's.
    scaled : bool, default False
        Whether the losses of the history are those of a standardised target, for the axis label.

    Returns
    -------
    Figure
        As written.

    Raises
    ------
    InputError
        For data that does not fit the network, or without matplotlib.
    FileError
        For another kind of file, or one that cannot be written.

    Examples
    --------
    >>> from fastmlp import Dense, Network
    >>> from fastmlp.datasets import load_digits
    >>> from fastmlp.plotting import training_report
    >>> split, network = load_digits().split(), Network([Dense(10)])
    >>> history = network.fit(split.X_train, split.y_train, epochs=2)
    >>> figure = training_report("digits.png", network, history, split)  # doctest: +SKIP
    """
    file = checked_path("training_report", path, SUFFIXES)
    require_matplotlib("training_report")
    loss_name = _OF_STANDARDISED if scaled else "loss"
    figure = _report(network, history, split, image_shape or split.image_shape, loss_name)
    write_figure("training_report", file, figure)
    return figure


def tabular_report(
    path: str | os.PathLike[str],
    model: Any,
    X: Any,
    y: Any,
    target_name: str | tuple[str, ...] | None = None,
) -> Figure:
    """Write one figure with the curves of a fit and a tabular estimator's answers to other rows.

    Classes get a confusion matrix, numbers and quantiles predictions against the true ones.

    Parameters
    ----------
    path : str or path
        A file named .png, .svg or .pdf in a folder that exists; an old file is replaced atomically.
    model : TabularClassifier or TabularRegressor
        Fitted. The curves are those of its first network; a model from a file has none.
    X : data frame, array or dict of columns of shape (n, n_features)
        Rows that it was not trained on.
    y : array of shape (n,) or (n, n_targets)
        Their labels or numbers.
    target_name : str or tuple of str, optional
        The name of y, or one name for each of its columns.

    Returns
    -------
    Figure
        As written.

    Raises
    ------
    InputError
        For rows that do not fit the model, or without matplotlib.
    FileError
        For another kind of file, or one that cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import TabularRegressor
    >>> from fastmlp.plotting import tabular_report
    >>> X = np.random.default_rng(0).normal(size=(90, 2))
    >>> model = TabularRegressor(max_iter=2, random_state=0).fit(X, X[:, 0])
    >>> figure = tabular_report("table.png", model, X, X[:, 0])  # doctest: +SKIP
    """
    file = checked_path("tabular_report", path, SUFFIXES)
    require_matplotlib("tabular_report")
    figure = _wide_figure()
    histories = getattr(model, "histories_", None)  # which files do not have
    *curves, axes = figure.subplots(1, 2 if histories else 1, squeeze=False)[0]
    predicted = model.predict(X)
    if hasattr(model, "classes_"):
        kind, curve, loss_name = "accuracy", "accuracy", "loss"
        plot_confusion(np.asarray(y), predicted, model.classes_, axes)
    else:
        levels = quantile_levels(model.networks_[0].loss)
        kind, curve = "D² of quantiles" if levels else "R²", _score_of(levels)
        loss_name, true = _OF_STANDARDISED, _numbers("tabular_report", "y", y)
        names = _target_names(target_name, true.shape[1])
        _draw_answers(axes, true, _numbers("tabular_report", "answers", predicted), names, levels)
    _name_axes(axes, target_name, kind)
    if histories:
        plot_history(histories[0], curves[0], curve, loss_name)
    figure.suptitle(f"test {kind} {model.score(X, y):.4g} (training epochs: {model.n_iter_})")
    write_figure("tabular_report", file, figure)
    return figure


def write_figure(where: str, path: str | os.PathLike[str], figure: Figure) -> None:
    """Write a figure to a file atomically."""
    with replacing(where, checked_path(where, path, SUFFIXES)) as temporary:
        figure.savefig(temporary, dpi=figure.dpi)


def _report(
    network: Body,
    history: History,
    split: Split,
    image_shape: tuple[int, int] | None,
    loss_name: str,
) -> Figure:
    figure = _wide_figure()
    if network.loss.task == "regression":
        curves, kind = _draw_numbers(figure, network, split)
    else:
        curves, kind = _draw_classes(figure, network, split, image_shape), "accuracy"
    plot_history(history, curves, kind, loss_name)
    _, score = evaluation.evaluate(network, "Network.evaluate", split.X_test, split.y_test, None)
    figure.suptitle(
        f"{_name(split.name, 60)}: test {kind} {score:.4g} "
        f"(training epochs: {history.epochs}, parameters: {network.params.size:,})"
    )
    return figure


def _wide_figure() -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure((12.8, 6.4), dpi=125, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def _draw_numbers(figure: Figure, network: Body, split: Split) -> tuple[Axes, str]:
    """Predictions of a regression; returns the axes for the curves, and what the score is."""
    curves, axes = figure.subplots(1, 2)
    true = _numbers("training_report", "y_test", split.y_test)
    answers = evaluation.predict(network, "Network.predict", split.X_test)
    predicted = _numbers("training_report", "predictions", answers)
    levels, kind = quantile_levels(network.loss), _score_of(quantile_levels(network.loss))
    targets = _target_names(split.target_name, true.shape[1])
    _draw_answers(axes, true, predicted, targets, levels)
    if len(targets) == 1:
        _name_axes(axes, split.target_name, kind)
    return curves, kind


def _score_of(levels: Sequence[float]) -> str:
    """What the score of a network of numbers, or of several quantiles, is."""
    return "R²" if len(levels) < 2 else "score (minus the loss)"


def _draw_answers(
    axes: Axes, true: np.ndarray, predicted: np.ndarray, targets: list[str], levels: Sequence[float]
) -> None:
    """Predictions (n, n_targets), or several quantiles of each target, against true numbers."""
    if len(levels) < 2:
        plot_regression(true, predicted, axes, targets)
        return
    prefixes = [f"{target}, " if len(targets) > 1 else "" for target in targets]
    names = [f"{prefix}quantile {level:g}" for prefix in prefixes for level in levels]
    plot_regression(np.repeat(true, len(levels), axis=1), predicted, axes, names)


def _name_axes(ax: Axes, target_name: Any, kind: str) -> None:
    """Say what is predicted: downwards for a confusion matrix, to the right for numbers."""
    if isinstance(target_name, str):
        names = [f"predicted {_name(target_name, 30)}", f"true {_name(target_name, 30)}"]
        x_label, y_label = names if kind == "accuracy" else names[::-1]
        ax.set(xlabel=x_label, ylabel=y_label)


def _target_names(names: Any, n_targets: int) -> list[str]:
    """The names of y's columns, or their numbers."""
    if isinstance(names, str) and n_targets == 1:
        return [_name(names, 30)]
    if isinstance(names, tuple) and len(names) == n_targets:
        return [_name(name, 30) for name in names]
    return [f"target {i + 1}" for i in range(n_targets)]


def _draw_classes(
    figure: Figure, network: Body, split: Split, image_shape: tuple[int, int] | None
) -> Axes:
    """Confusion matrix and, for images, examples; returns the axes for the curves."""
    from .nn import Dense

    true, predicted, labels = _test_labels(network, split)
    if image_shape is None or true.ndim > 1:
        axes = figure.subplot_mosaic("hc")
    else:
        _images("training_report", split.X_test[:1], image_shape)
        dense = next((layer for layer in network.layers if isinstance(layer, Dense)), None)
        reads_pixels = dense is not None and dense.n_in == network.n_features
        figure.set_size_inches(12.8, 8)
        axes = figure.subplot_mosaic("hcw;iii" if reads_pixels else "hc;ii", height_ratios=(3, 1.6))
        if dense is not None and reads_pixels:
            plot_weights(dense.W, image_shape, axes["w"])
            axes["w"].set_title("First layer's weights")
        _draw_images(split.X_test, true, predicted, image_shape, axes["i"])
    plot_confusion(true.ravel(), predicted.ravel(), labels, axes["c"])
    if true.ndim == 1:
        _name_axes(axes["c"], split.target_name, "accuracy")
    counted = "Test rows" if true.ndim == 1 else "Labels of all test rows"
    axes["c"].set_title(f"{counted} (shade: share of the true class)")
    return axes["h"]


def _test_labels(network: Body, split: Split) -> tuple[np.ndarray, np.ndarray, Any]:
    """True and predicted labels of the test rows, and all labels."""
    true = np.asarray(split.y_test)
    predicted = evaluation.predict(network, "Network.predict", split.X_test)
    if true.ndim == 1:
        return true, predicted, network.classes_
    if network.loss.task == "classes":  # rows of probabilities
        return true.argmax(axis=1), predicted, range(true.shape[1])
    return (true > 0.5).astype(int), predicted, (0, 1)  # yes or no for each of several labels


def _draw_images(
    X: np.ndarray, true: np.ndarray, predicted: np.ndarray, image_shape: tuple[int, int], ax: Axes
) -> None:
    """Two rows of test images, up to half of them misclassified."""
    n, wrong = 14, true != predicted
    n_wrong = int(wrong.sum())
    rows = np.r_[np.flatnonzero(wrong)[:n], np.flatnonzero(~wrong)][: 2 * n]
    plot_predictions(X[rows], true[rows], predicted[rows], image_shape, ax, 2 * n, n)
    counted = f"{min(n, n_wrong)} of {n_wrong} wrong ones (predicted ≠ true)"
    more = ", then right ones" if n_wrong < len(true) else ""
    ax.set_title(f"Test images: {counted}{more}" if n_wrong else "Test images, none wrong")


def _axes(where: str, ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The caller's axes, or those of a new figure."""
    require_matplotlib(where)
    from matplotlib.figure import Figure

    return Figure(size, layout="constrained").add_subplot() if ax is None else ax


def _labels(where: str, true: Any, predicted: Any) -> tuple[list[Any], list[Any]]:
    """Both as lists of one length; labels may be of any kind."""
    true, predicted = checks.array(where, "true", true), checks.array(where, "predicted", predicted)
    if true.ndim != 1 or true.size == 0 or true.shape != predicted.shape:
        raise InputError(
            where,
            "true and predicted of one shape (n,), n > 0",
            f"{true.shape} and {predicted.shape}",
            "pass one of each a row",
        )
    return true.tolist(), predicted.tolist()


def _numbers(where: str, name: str, values: Any) -> np.ndarray:
    """Finite numbers (n, n_targets), float64."""
    values = checks.array(where, name, values)
    values = values.reshape(-1, 1) if values.ndim == 1 else values
    return checks.matrix(where, name, values).astype(np.float64)


def _images(where: str, X: np.ndarray, image_shape: Any) -> np.ndarray:
    """Rows of pixels as images (n, height, width)."""
    expected = f"image_shape as (height, width) of {X.shape[1]} pixels"
    sides = tuple(image_shape) if isinstance(image_shape, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, Integral) for side in sides):
        raise InputTypeError(where, expected, repr(image_shape), "pass two whole numbers")
    if min(sides) < 1 or math.prod(sides) != X.shape[1]:
        raise InputError(where, expected, str(sides), "pass the shape of one image")
    return X.reshape(-1, *sides)


def _grid(images: np.ndarray, n_columns: int, below: int, beside: int) -> np.ndarray:
    """One image with all images row by row, separated by masked pixels."""
    n, height, width = images.shape
    n_rows = math.ceil(n / n_columns)
    grid = np.full((n_rows, height + below, n_columns, width + beside), np.nan)
    for i, image in enumerate(images):
        grid[i // n_columns, :height, i % n_columns, :width] = image
    whole = grid.reshape(n_rows * (height + below), n_columns * (width + beside))
    return np.ma.masked_invalid(whole[:-below, :-beside])


def _extent(ax: Axes) -> tuple[float, float]:
    """Approximate width and height of the axes in points; a layout may still change them."""
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    return box.width * 72 / dpi, box.height * 72 / dpi


def _font_size(points: float, n_chars: int) -> float:
    """Font size, from 4 to 10 points, with which characters fit into a square cell."""
    return min(max(0.8 * points / max(1.2, 0.62 * n_chars), 4), 10)


def _name(label: Any, longest: int = 18) -> str:
    """A label as shortened text, with dollar signs escaped so that they start no formula."""
    text = f"{label:g}" if isinstance(label, float) else str(label)
    text = text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"
    return text.replace("$", r"\$")
