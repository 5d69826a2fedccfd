"""Pictures of a fit: its curves, its mistakes, its weights, and one report that holds them all.

Each function draws on the axes it is given or on a figure of its own that pyplot never hears of;
matplotlib, an optional package, is imported when the first picture is drawn.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks
from .errors import FileError, InputError, InputTypeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .datasets import Split
    from .network import Network
    from .training import History

# Okabe and Ito's colours, which stay apart in every common kind of colour blindness.
_BLUE, _VERMILION, _GREEN = "#0072B2", "#D55E00", "#009E73"
_SERIES = (_BLUE, "#E69F00", "#CC79A7", _GREEN, "#56B4E9", _VERMILION)
_MAX_NUMBERED = 30  # with more classes than this a cell is too small for a number


def plot_history(history: History, ax: Axes | None = None, score_name: str = "score") -> Axes:
    """Losses by epoch and, on a second axis at the right, the validation score.

    Parameters
    ----------
    history : History
        As `Network.fit` returns it.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure, the result's `figure`.
    score_name : str
        What the score is, for its label.

    Returns
    -------
    Axes
        The one with the losses.

    Examples
    --------
    >>> from fastmlp import History
    >>> ax = plot_history(History(loss=[0.9, 0.4], validation_loss=[1.0, 0.6]))
    >>> [line.get_label() for line in ax.lines]
    ['training loss', 'validation loss']
    """
    ax = _axes("plot_history", ax, (7, 4.5))
    if not history.epochs:
        raise InputError("plot_history", "a history of at least one epoch", "an empty one",
                         "pass what Network.fit returned")  # fmt: skip
    lines = [_curve(ax, history.loss, "training loss", _BLUE, "-")]
    if history.validation_loss:
        lines.append(_curve(ax, history.validation_loss, "validation loss", _VERMILION, "--"))
    if history.validation_score:
        label, current = f"validation {score_name}", ax.figure.gca()
        twin = ax.twinx()
        ax.figure.sca(current)  # a new axes makes itself pyplot's current one
        lines.append(_curve(twin, history.validation_score, label, _GREEN, "-."))
        twin.set_ylabel(label)
    ax.set(xlabel="epoch", ylabel="loss")
    ax.set_xlim(*((1, history.epochs) if history.epochs > 1 else (0.5, 1.5)))
    ax.locator_params(axis="x", integer=True)
    ax.grid(alpha=0.3)
    # Above the axes, where no line can pass.
    ax.legend(handles=lines, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False,
              borderaxespad=0.2, columnspacing=1.2)  # fmt: skip
    return ax


def _curve(ax: Axes, values: list[float], label: str, color: str, style: str) -> Any:
    """One value an epoch; with points where they are few, as one alone makes no line."""
    # Not clipped, as the first and the last point lie on the frame.
    return ax.plot(range(1, len(values) + 1), values, style, color=color, label=label,
                   marker="o" if len(values) <= 30 else "", markersize=4, clip_on=False)[0]  # fmt: skip


def plot_confusion(
    true: Any, predicted: Any, labels: Sequence[Any] | None = None, ax: Axes | None = None
) -> Axes:
    """How often each class was taken for each: counts, shaded by their share of the row.

    Parameters
    ----------
    true, predicted : array of shape (n,)
        Labels. Cells of more than 30 classes have no numbers.
    labels : sequence, optional
        All classes in the order to show, such as `network.classes_`; by default those that occur.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure, the result's `figure`.

    Returns
    -------
    Axes

    Examples
    --------
    >>> ax = plot_confusion(["cat", "dog", "dog"], ["cat", "cat", "dog"])
    >>> [text.get_text() for text in ax.texts]
    ['1', '0', '1', '1']
    """
    ax = _axes("plot_confusion", ax, (6, 6))
    counts, classes = _confusion(*_labels("plot_confusion", true, predicted), labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= _MAX_NUMBERED:
        size = _font_size(ax, len(classes), len(str(counts.max())))
        luminance = image.cmap(shares)[..., :3] @ [0.299, 0.587, 0.114]
        for (row, column), count in np.ndenumerate(counts):
            # Zeros step back, so that the few mistakes stand out.
            color = "white" if luminance[row, column] < 0.5 else "black" if count else "0.45"
            ax.text(column, row, str(count), ha="center", va="center", size=size, color=color)
    ticks = range(0, len(classes), math.ceil(len(classes) / _MAX_NUMBERED))
    names = [_name(classes[i]) for i in ticks]
    size = _font_size(ax, len(names), 1)
    narrow = _font_size(ax, len(names), max(map(len, names)) + 1) < size
    ax.set_xticks(ticks, names, size=size, rotation=90 if narrow else 0)
    ax.set_yticks(ticks, names, size=size)
    ax.set(xlabel="predicted class", ylabel="true class")
    return ax


def _confusion(
    true: list[Any], predicted: list[Any], labels: Sequence[Any] | None
) -> tuple[np.ndarray, list[Any]]:
    """Counts (n_classes, n_classes), one row for each true class, and the classes."""
    found = {*true, *predicted}
    try:
        classes = sorted(found) if labels is None else np.asarray(labels).tolist()
    except TypeError:
        kinds = ", ".join(sorted({type(label).__name__ for label in found}))
        raise InputTypeError("plot_confusion", "labels of one type", kinds,
                             "turn all into strings or all into numbers") from None  # fmt: skip
    place = {label: i for i, label in enumerate(classes)}
    if unknown := found - place.keys():
        raise InputError("plot_confusion", "only classes that labels lists",
                         f"{len(unknown)} more", "add them or leave labels out")  # fmt: skip
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, ([place[label] for label in true], [place[label] for label in predicted]), 1)
    return counts, classes


def plot_weights(
    W: Any, image_shape: tuple[int, int], ax: Axes | None = None, n_max: int = 64
) -> Axes:
    """The incoming weights of each unit as a picture, largest norm first.

    Parameters
    ----------
    W : array of shape (n_pixels, n_units)
        Weights of the first layer.
    image_shape : tuple of two ints
        Height and width of an image.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure, the result's `figure`.
    n_max : int
        At most so many units are shown.

    Returns
    -------
    Axes
        With one image: units row by row, a masked pixel between them. The colours are symmetric
        about 0; at most the 0.5 % largest weights are beyond their ends.

    Examples
    --------
    >>> ax = plot_weights(np.eye(4), (2, 2))
    >>> ax.images[0].get_array().shape
    (5, 5)
    """
    ax = _axes("plot_weights", ax, (6, 5.5))
    n_max = checks.whole_number("plot_weights", "n_max", n_max, 1)
    W = checks.matrix("plot_weights", "W", W).astype(np.float64)
    order = np.argsort(-np.linalg.norm(W, axis=0), kind="stable")[:n_max]
    images = _images("plot_weights", W.T[order], image_shape)
    n, height, width = images.shape
    n_columns = min(n, math.ceil(math.sqrt(n * height / width)))  # about square as a whole
    largest = float(np.abs(images).max())
    limit = float(np.quantile(np.abs(images), 0.995)) or largest or 1.0
    shown = ax.imshow(_grid(images, n_columns, 1, 1), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_axis_off()
    ax.figure.colorbar(shown, ax=ax, label="weight", fraction=0.046, pad=0.03,
                       extend="both" if largest > limit else "neither")  # fmt: skip
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
    """Images with their predicted labels; a wrong one has a frame and reads "predicted ≠ true".

    Parameters
    ----------
    X : array of shape (n, n_pixels)
    true, predicted : array of shape (n,)
    image_shape : tuple of two ints
        Height and width of an image.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure, the result's `figure`.
    n_max, n_columns : int
        The first `n_max` rows of X are shown, `n_columns` side by side.

    Returns
    -------
    Axes
        With one image, higher values darker, and a text below each tile.

    Examples
    --------
    >>> ax = plot_predictions(np.eye(4), [0, 1, 2, 3], [0, 1, 2, 0], (2, 2))
    >>> [text.get_text() for text in ax.texts]
    ['0', '1', '2', '0 ≠ 3']
    """
    where = "plot_predictions"
    n_max = checks.whole_number(where, "n_max", n_max, 1)
    n_columns = checks.whole_number(where, "n_columns", n_columns, 1)
    X = checks.matrix(where, "X", X)
    labels = _labels(where, true, predicted)
    checks.same_length(where, "true", np.asarray(true), len(X))
    images = _images(where, X[:n_max], image_shape)
    n, height, width = images.shape
    n_columns, below, beside = min(n, n_columns), math.ceil(0.45 * height), math.ceil(0.2 * width)
    ax = _axes(where, ax, (1.1 * n_columns, 1.6 * math.ceil(n / n_columns)))
    grid = _grid(images, n_columns, below, beside)
    ax.imshow(grid, cmap="gray_r")
    ax.set_ylim(len(grid) - 0.5 + below, -1.5)  # the last row's texts, and the first row's frames
    ax.set_axis_off()
    for i, pair in enumerate(zip(*(part[:n] for part in labels), strict=True)):
        row, column = divmod(i, n_columns)
        left, top = column * (width + beside) - 0.5, row * (height + below) - 0.5
        _caption(ax, (left, top, width, height), _font_size(ax, n_columns, 8), *pair)
    return ax


def _caption(ax: Axes, box: tuple[float, ...], size: float, true: Any, predicted: Any) -> None:
    """The text below one image, and its frame."""
    from matplotlib.patches import Rectangle

    left, top, width, height = box
    wrong = true != predicted
    text = f"{_name(predicted)} ≠ {_name(true)}" if wrong else _name(predicted)
    if len(text) > 8:
        text = text.replace(" ≠ ", "\n≠ ")
    edge, line = (_VERMILION, 2.5) if wrong else ("0.8", 0.6)
    ax.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=edge, linewidth=line,
                           clip_on=False))  # fmt: skip
    ax.text(left + width / 2, top + 1.08 * height, text, ha="center", va="top", size=size,
            linespacing=1, weight="bold" if wrong else "normal")  # fmt: skip


def plot_regression(
    true: Any, predicted: Any, ax: Axes | None = None, names: Sequence[str] | None = None
) -> Axes:
    """Predicted against true numbers; on the diagonal they agree.

    Parameters
    ----------
    true, predicted : array of shape (n,) or (n, n_targets)
        Each target gets a colour and a marker.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure, the result's `figure`.
    names : sequence of str, optional
        Names of several targets, for the legend.

    Returns
    -------
    Axes

    Examples
    --------
    >>> ax = plot_regression([1.0, 2.0], [1.5, 1.75])
    >>> ax.lines[1].get_xydata().tolist()
    [[1.0, 1.5], [2.0, 1.75]]
    """
    where = "plot_regression"
    ax = _axes(where, ax, (6, 6))
    x, y = _numbers(where, "true", true), _numbers(where, "predicted", predicted)
    if x.shape != y.shape:
        raise InputError(where, "true and predicted of one shape", f"{x.shape} and {y.shape}",
                         "pass one prediction for each true number")  # fmt: skip
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    ax.plot(limits, limits, "--", color="0.4", linewidth=1, label="predicted = true")
    alpha = max(0.15, min(0.8, 300 / len(x)))
    for i, name in enumerate(names or [f"target {i + 1}" for i in range(x.shape[1])]):
        # Rasterized: thousands of vector points make a slow file.
        ax.plot(x[:, i], y[:, i], "os^D"[i % 4], color=_SERIES[i % len(_SERIES)], label=name,
                markersize=4, markeredgewidth=0, alpha=alpha, rasterized=True)  # fmt: skip
    if x.shape[1] > 1:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
    ax.set(xlim=limits, ylim=limits, aspect="equal", xlabel="true", ylabel="predicted")
    ax.grid(alpha=0.3)
    return ax


def training_report(
    path: str | os.PathLike[str],
    network: Network,
    history: History,
    split: Split,
    image_shape: tuple[int, int] | None = None,
) -> Figure:
    """Write one figure with the curves of a fit and what the network does on the test rows.

    Classes get a confusion matrix and, for images, the first Dense layer's weights and some test
    images, wrong ones first; a regression gets its predictions against the true numbers.

    Parameters
    ----------
    path : path
        A file named .png, .svg or .pdf, in a folder that exists; replaced whole or not at all.
    network : Network
        Fitted on the split's training rows.
    history : History
        As that fit returned it.
    split : Split
        Its test rows are judged.
    image_shape : tuple of two ints, optional
        Height and width of an image; by default the split's.

    Returns
    -------
    Figure
        As written.

    Raises
    ------
    InputError
        For another kind of file, data that does not fit the network, or no matplotlib.
    FileError
        If the file cannot be written.

    Examples
    --------
    >>> from fastmlp import Dense, Network
    >>> from fastmlp.datasets import load_digits
    >>> split, network = load_digits().split(), Network([Dense(10)])
    >>> history = network.fit(split.X_train, split.y_train, epochs=1)
    >>> figure = training_report("digits.png", network, history, split)  # doctest: +SKIP
    """
    file = check_report_path(path)
    figure = _report(network, history, split, image_shape or split.image_shape)
    part = file.with_name(f".{uuid.uuid4().hex}{file.suffix}")
    try:
        figure.savefig(part, dpi=figure.dpi)
        os.replace(part, file)
    except OSError as error:
        raise FileError(str(file), "a file that can be written",
                        error.strerror or type(error).__name__, "choose another path") from error  # fmt: skip
    finally:
        part.unlink(missing_ok=True)
    return figure


def check_report_path(path: str | os.PathLike[str]) -> Path:
    """The path as a report can be written to, or the error; worth asking before a long training."""
    from .datasets.inputs import as_path

    _need_matplotlib("training_report")
    file = as_path("training_report", path)
    if file.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError("training_report", "a path that ends in .png, .svg or .pdf",
                         repr(file.name), "choose one of these endings")  # fmt: skip
    if not file.parent.is_dir():
        raise FileError(str(file), f"the folder {file.parent}", "none of that name",
                        "make the folder first or choose another path")  # fmt: skip
    return file


def _report(
    network: Network, history: History, split: Split, image_shape: tuple[int, int] | None
) -> Figure:
    from matplotlib.figure import Figure

    kind = "R²" if network.loss.task == "regression" else "accuracy"
    kind = "score (minus the loss)" if len(_levels(network)) > 1 else kind
    figure = Figure((12.8, 6.4), dpi=125, layout="constrained")
    draw = _draw_numbers if network.loss.task == "regression" else _draw_classes
    plot_history(history, draw(figure, network, split, image_shape), kind)
    figure.suptitle(
        f"{_name(split.name, 60)}: test {kind} {network.score(split.X_test, split.y_test):.4g}, "
        f"training epochs {history.epochs}, parameters {network.params.size:,}"
    )
    return figure


def _levels(network: Network) -> tuple[float, ...]:
    """Of a loss for quantiles."""
    from .losses import Quantile

    return network.loss.levels if isinstance(network.loss, Quantile) else ()


def _draw_numbers(figure: Figure, network: Network, split: Split, _: object) -> Axes:
    """Predictions of numbers; the axes left for the curves."""
    curves, axes = figure.subplots(1, 2)
    true = _numbers("training_report", "y_test", split.y_test)
    predicted = _numbers("training_report", "predictions", network.predict(split.X_test))
    levels, names = _levels(network), None
    if len(levels) > 1:  # several predictions for each target
        names = [f"target {i + 1}, " * (true.shape[1] > 1) + f"quantile {level:g}"
                 for i in range(true.shape[1]) for level in levels]  # fmt: skip
        true = np.repeat(true, len(levels), axis=1)
    plot_regression(true, predicted, axes, names)
    return curves  # type: ignore[no-any-return]  # subplots gives an array


def _draw_classes(
    figure: Figure, network: Network, split: Split, image_shape: tuple[int, int] | None
) -> Axes:
    """Hits and mistakes, for images with pictures; the axes left for the curves."""
    true, predicted, labels = _test_labels(network, split)
    W = None
    if image_shape is None:
        axes = figure.subplot_mosaic("hc")
    else:
        _images("training_report", split.X_test[:1], image_shape)
        W = _pixel_weights(network)
        figure.set_size_inches(12.8, 8)
        axes = figure.subplot_mosaic("hc;ii" if W is None else "hcw;iii", height_ratios=(3, 1.6))
        _draw_images(split.X_test, true, predicted, image_shape, axes["i"])
    if W is not None and image_shape is not None:
        plot_weights(W, image_shape, axes["w"])
        axes["w"].set_title("First layer's weights")
    plot_confusion(true.ravel(), predicted.ravel(), labels, axes["c"])
    axes["c"].set_title("Test rows (shade: share of the true class)")
    return axes["h"]


def _test_labels(network: Network, split: Split) -> tuple[np.ndarray, np.ndarray, Any]:
    """True and predicted labels of the test rows, and all labels."""
    true, predicted = np.asarray(split.y_test), network.predict(split.X_test)
    if true.ndim == 1:
        return true, predicted, network.classes_
    if network.loss.task == "classes":  # rows of probabilities
        return true.argmax(axis=1), predicted, range(true.shape[1])
    return (true > 0.5).astype(int), predicted, (0, 1)  # yes or no for each of several labels


def _pixel_weights(network: Network) -> np.ndarray | None:
    """Weights of the first Dense layer, if pixels are what it reads."""
    from .layers import Dense

    dense = next((layer for layer in network.layers if isinstance(layer, Dense)), None)
    return dense.W if dense is not None and dense.n_in == network.n_features else None


def _draw_images(
    X: np.ndarray, true: np.ndarray, predicted: np.ndarray, image_shape: tuple[int, int], ax: Axes
) -> None:
    """Two rows of test images, the first of them wrong ones as far as there are any."""
    columns = 14
    ...
