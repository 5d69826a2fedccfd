"""Each plot shows the right numbers, and a report is written atomically.

The tests check lines, texts and pixels of figures, not how they look.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import (
    Adam,
    Dense,
    History,
    Network,
    Quantile,
    TabularClassifier,
    TabularRegressor,
    plotting,
)
from fastmlp.datasets import Dataset, Split
from fastmlp.errors import FileError, InputError, InputTypeError
from fastmlp.nn import Layer

pytest.importorskip("matplotlib")
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

pytestmark = [pytest.mark.nojit, pytest.mark.thinned(2)]

HISTORY = History(
    loss=[0.9, 0.5, 0.4], validation_loss=[1.0, 0.7, 0.6], validation_score=[0.5, 0.7, 0.8]
)


@contextmanager
def refuses(kind: type[InputError], text: str) -> Iterator[None]:
    """Expect an error of exactly this kind and text."""
    with pytest.raises(kind) as caught:
        yield
    assert str(caught.value) == text
    assert type(caught.value) is kind


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


def points(line: Any) -> list[list[float]]:
    return line.get_xydata().tolist()


@pytest.fixture(autouse=True)
def pyplot_stays_as_it_was() -> Iterator[None]:
    """Every test here also shows that pyplot hears of no figure and keeps its current axes."""
    import matplotlib.pyplot as plt

    figure, (first, _) = plt.subplots(1, 2)
    plt.sca(first)
    before = plt.get_fignums()
    try:
        yield
        assert plt.get_fignums() == before
        assert plt.gca() is first
    finally:
        plt.close(figure)


# Curves -----------------------------------------------------------------------------------------


def test_history_shows_each_series_from_epoch_1() -> None:
    ax = plotting.plot_history(HISTORY, score_name="accuracy")
    twin = ax.figure.axes[1]
    assert [line.get_label() for line in ax.lines] == ["training loss", "validation loss"]
    assert points(ax.lines[0]) == [[1, 0.9], [2, 0.5], [3, 0.4]]
    assert points(ax.lines[1]) == [[1, 1.0], [2, 0.7], [3, 0.6]]
    assert points(twin.lines[0]) == [[1, 0.5], [2, 0.7], [3, 0.8]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    assert twin.get_ylabel() == "validation accuracy"
    styles = {(line.get_color(), line.get_linestyle()) for line in [*ax.lines, *twin.lines]}
    assert len(styles) == 3


@pytest.mark.thinned(2)
@pytest.mark.parametrize("n", [1, 2, 3, 31, 400])
def test_history_ticks_are_whole_epochs(n: int) -> None:
    ax = plotting.plot_history(History(loss=[1.0] * n))
    ax.figure.draw_without_rendering()
    low, high = ax.get_xlim()
    ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == int(tick) >= 1 for tick in ticks)
    # One point alone is no line, and many points hide it.
    assert ax.lines[0].get_marker() == ("o" if n < 31 else "None")
    assert len(ax.figure.axes) == 1


def test_history_legend_is_off_the_lines() -> None:
    ax = plotting.plot_history(HISTORY)
    ax.figure.draw_without_rendering()
    legend = ax.get_legend()
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["training loss", "validation loss", "validation score"]
    assert not legend.get_window_extent().overlaps(ax.get_window_extent())


@pytest.mark.parametrize(
    "scores",
    [[0.970, 0.971, 0.9705], [0.2, 0.6, 0.9], [1.0, 1.0], [0.99], [-30.0, 0.4, 0.8], [0.0, 0.0]],
)
def test_noise_in_a_score_stays_small(scores: list[float]) -> None:
    """The axis of an accuracy or an R² ends at 1, or 0 if it never was above, and is not short."""
    ax = plotting.plot_history(History(loss=[0.5] * len(scores), validation_score=scores))
    low, high = ax.figure.axes[1].get_ylim()
    assert low < min(scores) <= max(scores) < high
    if max(scores) > 0:
        assert 1 < high <= 1.01 + 0.02 * (1 - min(scores))
        assert high - low >= 0.2  # so that 0.001 is at most a two hundredth of the height


@pytest.mark.parametrize("scores", [[-0.52, -0.51], [-1e-9, -2e-9], [55.0, 55.1]])
def test_other_scores_have_an_axis_as_wide_as_they_are_large(scores: list[float]) -> None:
    ax = plotting.plot_history(History(loss=[0.5] * 2, validation_score=scores))
    low, high = ax.figure.axes[1].get_ylim()
    assert low <= min(scores) <= max(scores) <= high
    assert np.ptp(scores) <= 0.7 * (high - low)


def test_losses_start_at_nought_unless_they_are_negative() -> None:
    ax = plotting.plot_history(History(loss=[0.500, 0.499], validation_loss=[0.501, 0.5]))
    low, high = ax.get_ylim()
    assert (low, high > 0.501) == (0, True)
    ax = plotting.plot_history(History(loss=[0.5, -0.5]))
    assert ax.get_ylim()[0] < -0.5
    assert plotting.plot_history(HISTORY, loss_name="pinball loss").get_ylabel() == "pinball loss"


def test_history_of_an_interrupted_epoch_is_drawn_as_far_as_it_goes() -> None:
    ax = plotting.plot_history(History(loss=[2.0, 1.0], validation_loss=[2.5]))
    assert points(ax.lines[1]) == [[1, 2.5]]


def test_history_draws_on_axes_of_pyplot_too() -> None:
    import matplotlib.pyplot as plt

    ax = plt.gcf().axes[1]  # and pyplot's current axes stay the first, says the fixture
    assert plotting.plot_history(HISTORY, ax=ax) is ax
    assert len(ax.lines) == 2


def test_history_refuses_an_empty_one() -> None:
    text = "plot_history: expected at least one epoch, got an empty history; train first"
    with refuses(InputError, text):
        plotting.plot_history(History())


# Confusion --------------------------------------------------------------------------------------


def test_confusion_counts_and_shades_rows() -> None:
    true, predicted = [0, 0, 0, 0, 1, 2], [0, 0, 0, 1, 1, 0]
    ax = plotting.plot_confusion(true, predicted)
    assert texts(ax) == ["3", "1", "0", "0", "1", "0", "1", "0", "0"]
    assert [text.get_position() for text in ax.texts][1] == (1, 0)  # column 1 of row 0
    shares = ax.images[0].get_array()
    np.testing.assert_array_equal(shares, [[0.75, 0.25, 0], [0, 1, 0], [1, 0, 0]])
    assert ax.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "2"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")


def test_confusion_numbers_contrast_with_their_cells() -> None:
    ax = plotting.plot_confusion([0] * 9 + [1], [0] * 8 + [1, 0])
    shades = ax.images[0].cmap(ax.images[0].get_array()).reshape(-1, 4)
    for text, shade in zip(ax.texts, shades, strict=True):
        ink = np.mean(to_rgba(text.get_color())[:3])
        assert abs(ink - np.mean(shade[:3])) > 0.35, text.get_text()
    assert [text.get_color() for text in ax.texts] == ["white", "black", "white", "0.45"]


def test_confusion_keeps_the_order_of_labels_and_adds_others() -> None:
    ax = plotting.plot_confusion(["b", "a"], ["b", "z"], labels=np.array(["b", "a", "none"]))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "a", "none", "z"]
    np.testing.assert_array_equal(
        ax.images[0].get_array(), [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    )
    mixed = np.array([2, "a", 1], object)
    ax = plotting.plot_confusion(mixed, mixed)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "2", "a"]


def test_confusion_of_many_classes_has_no_numbers_and_fewer_names() -> None:
    assert len(texts(plotting.plot_confusion(np.arange(30), np.arange(30)))) == 900
    ax = plotting.plot_confusion(np.arange(31), np.arange(31))
    assert texts(ax) == []
    assert [label.get_text() for label in ax.get_xticklabels()][:3] == ["0", "2", "4"]


def test_confusion_turns_and_cuts_long_names() -> None:
    names = [f"{i} of a rather long kind" for i in range(8)]
    ax = plotting.plot_confusion(names, names)
    assert [label.get_rotation() for label in ax.get_xticklabels()] == [90] * 8
    assert ax.get_xticklabels()[0].get_text() == "0 of a rather lon…"
    assert ax.get_yticklabels()[0].get_rotation() == 0
    short = plotting.plot_confusion([0.0, 1.5], [0.0, 1.5])
    assert [label.get_rotation() for label in short.get_xticklabels()] == [0, 0]
    assert [label.get_text() for label in short.get_xticklabels()] == ["0", "1.5"]


def test_dollars_in_names_are_no_formula() -> None:
    ax = plotting.plot_confusion(["$5_{", "$9"], ["$5_{", "$9"])
    ax.figure.draw_without_rendering()  # raises for a formula that cannot be read
    assert ax.get_xticklabels()[0].get_text() == r"\$5_{"


@pytest.mark.parametrize(
    ("true", "predicted", "got"),
    [
        ([0], [0, 1], "(1,) and (2,)"),
        ([], [], "(0,) and (0,)"),
        ([[0]], [[0]], "(1, 1) and (1, 1)"),
    ],
)
def test_confusion_refuses_unlike_labels(true: Any, predicted: Any, got: str) -> None:
    text = (
        f"plot_confusion: expected true and predicted of one shape (n,), n > 0, got {got}; "
        "pass one of each a row"
    )
    with refuses(InputError, text):
        plotting.plot_confusion(true, predicted)


# Weights ----------------------------------------------------------------------------------------


def test_weights_are_tiles_by_norm_on_a_symmetric_scale() -> None:
    W = np.zeros((6, 3), np.float32)
    W[:, 0], W[0, 1], W[:, 2] = 1, -4, 2  # norms: sqrt(6), 4, sqrt(24)
    ax = plotting.plot_weights(W, (2, 3))
    grid = ax.images[0].get_array()
    assert grid.shape == (5, 7)  # 2 x 2 tiles of 2 x 3 pixels, one apart
    np.testing.assert_array_equal(grid[:2, :3], np.full((2, 3), 2.0))
    np.testing.assert_array_equal(grid[:2, 4:], [[-4, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(grid[3:, :3], np.ones((2, 3)))
    assert grid.mask[2].all()
    assert grid.mask[:, 3].all()
    assert grid.mask[3:, 4:].all()  # no fourth unit
    low, high = ax.images[0].get_clim()
    assert low == -high
    assert 2 < high <= 4
    assert len(ax.figure.axes) == 2  # with one colour bar


def test_weights_show_at_most_n_max_units(rng: np.random.Generator) -> None:
    W = rng.normal(size=(4, 100))
    assert plotting.plot_weights(W, (2, 2)).images[0].get_array().shape == (23, 23)  # 8 x 8
    ax = plotting.plot_weights(W, (2, 2), n_max=1)
    largest = W[:, np.linalg.norm(W, axis=0).argmax()]
    np.testing.assert_array_equal(ax.images[0].get_array(), largest.reshape(2, 2))


def test_weights_of_zeros_have_a_scale() -> None:
    assert plotting.plot_weights(np.zeros((4, 2)), (2, 2)).images[0].get_clim() == (-1, 1)


def test_weights_refuse_another_shape() -> None:
    expected = "plot_weights: expected image_shape as (height, width) of 4 pixels, got "
    with refuses(InputError, f"{expected}(2, 3); pass the shape of one image"):
        plotting.plot_weights(np.eye(4), (2, 3))
    with refuses(InputTypeError, f"{expected}8; pass two whole numbers"):
        plotting.plot_weights(np.eye(4), 8)  # type: ignore[arg-type]
    sides = np.array([2, 2])
    assert plotting.plot_weights(np.eye(4), (sides[0], sides[1])).images


# Predictions ------------------------------------------------------------------------------------


def test_predictions_mark_wrong_ones_by_frame_and_text() -> None:
    X = np.arange(16).reshape(4, 4)
    ax = plotting.plot_predictions(X, [0, 1, 2, 3], [0, 2, 2, 3], (2, 2), n_max=3, n_columns=2)
    assert texts(ax) == ["0", "2 ≠ 1", "2"]
    assert [text.get_weight() for text in ax.texts] == ["normal", "bold", "normal"]
    widths = [frame.get_linewidth() for frame in ax.patches]
    assert widths[1] > 2 * widths[0] == 2 * widths[2]
    image = ax.images[0]
    grid = image.get_array()
    np.testing.assert_array_equal(grid[:2, :2], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(grid[:2, -2:], [[4, 5], [6, 7]])
    np.testing.assert_array_equal(grid[-2:, :2], [[8, 9], [10, 11]])
    assert image.cmap(image.norm(11.0))[:3] < image.cmap(image.norm(0.0))[:3]  # more ink is darker
    ax.figure.draw_without_rendering()
    for frame, text in zip(ax.patches, ax.texts, strict=True):
        box, caption = frame.get_window_extent(), text.get_window_extent()
        assert caption.y1 <= box.y0 + 1
        assert caption.x0 > box.x0 - box.width * 0.2


def test_predictions_cut_long_names_and_break_the_line() -> None:
    true, predicted = ["hippopotamus", "cat"], ["crocodile", "cat"]
    ax = plotting.plot_predictions(np.eye(4)[:2], true, predicted, (2, 2))
    assert texts(ax) == ["crocodile\n≠ hippopota…", "cat"]


def test_predictions_leave_room_for_captions() -> None:
    labels = ["hippopotamus", "crocodile"] * 2
    ax = Figure((4, 5)).add_axes((0, 0, 1, 1))  # which no layout engine will shrink
    plotting.plot_predictions(np.eye(64)[:4], labels, labels[::-1], (8, 8), ax, n_columns=2)
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    frames = [frame.get_window_extent() for frame in ax.patches]
    assert min(box.y0 for box in boxes[:2]) > max(frame.y1 for frame in frames[2:])
    assert min(box.y0 for box in boxes) >= ax.figure.bbox.y0
    assert boxes[0].x1 < boxes[1].x0


def test_predictions_refuse_labels_of_other_rows() -> None:
    text = (
        "plot_predictions: expected true with 4 rows, as X has, got 3; "
        "pass one entry for each row of X"
    )
    with refuses(InputError, text):
        plotting.plot_predictions(np.eye(4), [0, 1, 2], [0, 1, 2], (2, 2))


# Regression -------------------------------------------------------------------------------------


def test_regression_shows_pairs_and_the_diagonal() -> None:
    ax = plotting.plot_regression([0.0, 10.0, 5.0], np.array([[1.0], [9.0], [5.0]]))
    diagonal, found = ax.lines
    assert points(found) == [[0, 1], [10, 9], [5, 5]]
    assert points(diagonal) == [[-0.4, -0.4], [10.4, 10.4]]
    assert ax.get_xlim() == ax.get_ylim() == (-0.4, 10.4)
    assert (ax.get_aspect(), ax.get_xlabel(), ax.get_ylabel()) == (1, "true", "predicted")
    assert ax.get_legend() is None


def test_regression_tells_targets_apart() -> None:
    values = np.array([[1.0, 5.0], [2.0, 6.0]])
    ax = plotting.plot_regression(values, values + 1)
    assert points(ax.lines[2]) == [[5, 6], [6, 7]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["target 1", "target 2"]
    assert ax.lines[1].get_color() != ax.lines[2].get_color()
    assert ax.lines[1].get_marker() != ax.lines[2].get_marker()
    named = plotting.plot_regression(values, values, names=["x", "y"])
    assert [line.get_label() for line in named.lines[1:]] == ["x", "y"]


def test_regression_of_one_constant_has_limits() -> None:
    assert plotting.plot_regression([3.0, 3.0], [3.0, 3.0]).get_xlim() == (2, 4)


def test_regression_refuses_what_it_cannot_place() -> None:
    text = (
        "plot_regression: expected true and predicted of one shape, got (2, 1) and (3, 1); "
        "pass one of each a row"
    )
    with refuses(InputError, text):
        plotting.plot_regression([1.0, 2.0], [1.0, 2.0, 3.0])
    text = (
        "plot_regression: expected predicted to be finite, got nan in row 1, column 0; "
        "remove, replace or impute it"
    )
    with refuses(InputError, text):
        plotting.plot_regression([1.0, 2.0], [1.0, np.nan])


# The report -------------------------------------------------------------------------------------


class Halve(Layer):
    """A layer in front of the first Dense that leaves it half of the pixels."""

    name = "halve"

    def build(self, n_in: int) -> int:
        self.n_in, self.n_out = n_in, n_in // 2
        return self.n_out

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        return np.ascontiguousarray(X[:, ::2])

    def backward(self, dA: np.ndarray) -> np.ndarray:
        return np.repeat(dA, 2, axis=1)


def pictures(rng: np.random.Generator, n_classes: int = 3) -> Split:
    """Images of 2 x 4 pixels whose brightest column is their class, but for some noise."""
    y = np.arange(120) % n_classes
    X = rng.normal(size=(120, 2, 4)).astype(np.float32)
    X[np.arange(120), :, y] += 2
    return Dataset(X.reshape(120, 8), y, "columns", image_shape=(2, 4)).split(0.2, 0.4)


def numbers(rng: np.random.Generator, n_targets: int = 1) -> Split:
    X = rng.normal(size=(100, 3))
    y = X[:, :n_targets] + X[:, 2:]
    return Dataset(X, y[:, 0] if n_targets == 1 else y, "sums").split()


def fitted(split: Split, *layers: Layer, loss: Any = "softmax_cross_entropy") -> Any:
    network = Network(layers, loss=loss)
    options = {"optimizer": Adam(0.03), "epochs": 3, "batch_size": 8}
    validation = (split.X_val, split.y_val)
    return network, network.fit(split.X_train, split.y_train, validation_data=validation, **options)


@pytest.mark.slow
def test_report_on_images(rng: np.random.Generator, tmp_path: Path) -> None:
    split = pictures(rng)
    network, history = fitted(split, Dense(5), Dense(3))
    path = tmp_path / "report.png"
    figure = plotting.training_report(path, network, history, split)
    assert isinstance(figure, Figure)
    assert (figure.get_size_inches() * figure.dpi).tolist() == [1600, 1000]
    image = path.read_bytes()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(image[i : i + 4], "big") for i in (16, 20)] == [1600, 1000]
    assert list(tmp_path.iterdir()) == [path]

    by_label = {ax.get_label(): ax for ax in figure.axes}
    predicted = network.predict(split.X_test)
    assert points(by_label["h"].lines[0])[2] == [3, history.loss[2]]
    counts = [int(text) for text in texts(by_label["c"])]
    expected = [((split.y_test == i) & (predicted == j)).sum() for i in range(3) for j in range(3)]
    assert counts == expected
    assert by_label["w"].images[0].get_array().shape == (8, 9)  # 3 x 2 tiles of 2 x 4, one apart
    n_wrong = int((predicted != split.y_test).sum())
    assert 0 < n_wrong < 14, "the test needs some wrong ones"
    assert ["≠" in text for text in texts(by_label["i"])] == [True] * n_wrong + [False] * (
        28 - n_wrong
    )
    title = f"Test images: {n_wrong} of {n_wrong} wrong ones (predicted ≠ true), then right ones"
    assert by_label["i"].get_title() == title
    score = network.score(split.X_test, split.y_test)
    assert figure.get_suptitle() == (
        f"columns: test accuracy {score:.4g} (training epochs: 3, parameters: 63)"
    )


@pytest.mark.slow
def test_report_panels_do_not_overlap(rng: np.random.Generator, tmp_path: Path) -> None:
    split = pictures(rng)
    figure = plotting.training_report(tmp_path / "a.png", *fitted(split, Dense(5), Dense(3)), split)
    page = figure.bbox
    boxes = {ax.get_label(): ax.get_tightbbox() for ax in figure.axes}
    assert sorted(boxes) == ["", "<colorbar>", "c", "h", "i", "w"]  # the twin has no label
    own = {"": "h", "<colorbar>": "w"}
    for name, box in boxes.items():
        assert page.x0 <= box.x0 < box.x1 <= page.x1, name
        assert page.y0 <= box.y0 < box.y1 <= page.y1, name
        others = {"c", "h", "i", "w"} - {name, *own.get(name, "")}
        assert not any(box.overlaps(boxes[other]) for other in others), name


@pytest.mark.slow
def test_report_without_mistakes_says_so(rng: np.random.Generator, tmp_path: Path) -> None:
    split = pictures(rng)
    network, history = fitted(split, Dense(3))
    sure = replace(split, y_test=network.predict(split.X_test))
    figure = plotting.training_report(tmp_path / "a.png", network, history, sure)
    assert "Test images, none wrong" in [ax.get_title() for ax in figure.axes]


@pytest.mark.slow
def test_report_takes_the_image_shape_or_refuses_it(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    split = replace(pictures(rng), image_shape=None)
    network, history = fitted(split, Dense(3))
    figure = plotting.training_report(tmp_path / "a.png", network, history, split)
    assert {ax.get_label() for ax in figure.axes} >= {"h", "c"}
    assert not {ax.get_label() for ax in figure.axes} & {"w", "i"}
    figure = plotting.training_report(tmp_path / "a.png", network, history, split, (4, 2))
    assert {ax.get_label() for ax in figure.axes} >= {"h", "c", "w", "i"}
    text = (
        "training_report: expected image_shape as (height, width) of 8 pixels, got (3, 3); "
        "pass the shape of one image"
    )
    with refuses(InputError, text):
        plotting.training_report(tmp_path / "a.png", network, history, split, (3, 3))


@pytest.mark.slow
def test_report_shows_no_weights_that_are_not_on_pixels(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    split = pictures(rng)
    figure = plotting.training_report(tmp_path / "a.png", *fitted(split, Halve(), Dense(3)), split)
    assert {"h", "c", "i"} <= {ax.get_label() for ax in figure.axes}
    assert "w" not in {ax.get_label() for ax in figure.axes}


@pytest.mark.thinned(1)
@pytest.mark.parametrize("kind", ["text", "one-hot", "binary", "several labels"])
def test_report_on_targets_of_every_kind(
    kind: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    split = pictures(rng, 2 if kind == "binary" else 3)
    names = np.array(["circle", "square", "rhombus"])
    change = {
        "text": lambda y: names[y],
        "one-hot": lambda y: np.eye(3)[y],
        "binary": lambda y: y,
        "several labels": lambda y: np.stack([y > 0, y > 1, y == 0], axis=1).astype(float),
    }[kind]
    split = replace(
        split, **{key: change(getattr(split, key)) for key in ("y_train", "y_val", "y_test")}
    )
    loss = "softmax_cross_entropy" if kind in ("text", "one-hot") else "binary_cross_entropy"
    network, history = fitted(split, Dense(1 if kind == "binary" else 3), loss=loss)
    figure = plotting.training_report(tmp_path / "a.png", network, history, split)
    by_label = {ax.get_label(): ax for ax in figure.axes}
    n = len(split.y_test) * (3 if kind == "several labels" else 1)
    counts = np.array([int(text) for text in texts(by_label["c"])])
    assert counts.sum() == n
    if kind != "several labels":
        right = counts.reshape(by_label["c"].images[0].get_array().shape).trace() / n
        assert right == pytest.approx(network.score(split.X_test, split.y_test))
    shown = [label.get_text() for label in by_label["c"].get_yticklabels()]
    assert shown == {"text": sorted(names), "one-hot": ["0", "1", "2"]}.get(kind, ["0", "1"])
    assert ("i" in by_label) == (kind != "several labels")
    rows = "Labels of all test rows" if kind == "several labels" else "Test rows"
    assert by_label["c"].get_title() == f"{rows} (shade: share of the true class)"


def test_report_on_a_regression(rng: np.random.Generator, tmp_path: Path) -> None:
    split = numbers(rng)
    network, history = fitted(split, Dense(1), loss="mean_squared_error")
    figure = plotting.training_report(tmp_path / "a.svg", network, history, split)
    curves, result, twin = figure.axes
    pairs = np.stack([split.y_test, network.predict(split.X_test)], axis=1)
    np.testing.assert_array_equal(result.lines[1].get_xydata(), pairs)
    assert points(curves.lines[0])[0] == [1, history.loss[0]]
    assert result.lines[1].get_rasterized()  # or the file grows with the rows
    assert twin.get_ylabel() == "validation R²"
    score = network.score(split.X_test, split.y_test)
    assert figure.get_suptitle().startswith(f"sums: test R² {score:.4g} (")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")


@pytest.mark.thinned
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("quantile", [None, 0.5, [0.1, 0.5, 0.9], "classes"])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_report_of_a_table(tmp_path: Path, quantile: Any, n_targets: int, is_loaded: bool) -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = X[:, 0] if n_targets == 1 else X
    options: dict[str, Any] = {"max_iter": 1, "hidden_layer_sizes": 4, "random_state": 0}
    model: Any = TabularRegressor(**options, quantile=quantile)
    if quantile == "classes":
        model, y = TabularClassifier(**options), X[:, n_targets - 1] > 0
    model.fit(X, y)
    if is_loaded:
        model.save(tmp_path / "m.safetensors")
        model = type(model).load(tmp_path / "m.safetensors")
    name = "price" if n_targets == 1 else ("price", "size")
    figure = plotting.tabular_report(tmp_path / "a.svg", model, X, y, name)
    curves = [ax for ax in figure.axes if ax.get_xlabel() == "epoch"]
    assert bool(curves) != is_loaded
    kind = "accuracy" if quantile == "classes" else "D² of quantiles" if quantile else "R²"
    assert figure.get_suptitle() == f"test {kind} {model.score(X, y):.4g} (training epochs: 1)"
    shown = figure.axes[0 if is_loaded else 1]
    if isinstance(quantile, list):
        found = [text.get_text() for text in shown.get_legend().get_texts()]
        first = "price, " if n_targets == 2 else ""
        assert found[:2] == [f"{first}quantile 0.1", f"{first}quantile 0.5"]
        assert len(found) == 3 * n_targets


@pytest.mark.slow
def test_report_names_its_targets(rng: np.random.Generator, tmp_path: Path) -> None:
    path, split = tmp_path / "report.svg", numbers(rng)
    network, history = fitted(split, Dense(1), loss="mean_squared_error")
    for name, labels in (
        ("price $", ("true price \\$", "predicted price \\$")),
        (None, ("true", "predicted")),
    ):
        named = replace(split, target_name=name)
        axes = plotting.training_report(path, network, history, named, scaled=True).axes
        assert (axes[1].get_xlabel(), axes[1].get_ylabel()) == labels
        assert axes[0].get_ylabel() == "loss (of the standardised target)"
    split = replace(numbers(rng, 2), target_name=("price", "size"))
    network, history = fitted(split, Dense(2), loss="mean_squared_error")
    axes = plotting.training_report(path, network, history, split).axes
    assert [text.get_text() for text in axes[1].get_legend().get_texts()] == ["price", "size"]
    assert axes[0].get_ylabel() == "loss"

    split = replace(pictures(rng), target_name="kind")
    network, history = fitted(split, Dense(3))
    labels = [
        (ax.get_xlabel(), ax.get_ylabel())
        for ax in plotting.training_report(path, network, history, split).axes
    ]
    assert ("predicted kind", "true kind") in labels


@pytest.mark.slow
@pytest.mark.parametrize("n_targets", [1, 2])
def test_report_on_quantiles(n_targets: int, rng: np.random.Generator, tmp_path: Path) -> None:
    split = numbers(rng, n_targets)
    network, history = fitted(split, Dense(2 * n_targets), loss=Quantile((0.1, 0.9)))
    figure = plotting.training_report(tmp_path / "a.PDF", network, history, split)
    result = figure.axes[1]
    names = ["quantile 0.1", "quantile 0.9"]
    if n_targets == 2:
        names = [f"target {i}, {name}" for i in (1, 2) for name in names]
    assert [line.get_label() for line in result.lines[1:]] == names
    predicted, true = network.predict(split.X_test), split.y_test.reshape(-1, n_targets)
    for i, line in enumerate(result.lines[1:]):
        pairs = np.stack([true[:, i // 2], predicted[:, i]], axis=1)
        np.testing.assert_array_equal(line.get_xydata(), pairs)
    assert (tmp_path / "a.PDF").read_bytes().startswith(b"%PDF")


def test_report_refuses_paths_before_it_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plotting, "_report", None)
    nothing: Any = None
    text = (
        "training_report: expected a file name ending in .png or .svg or .pdf, got 'a.jpg'; "
        "change the suffix"
    )
    with refuses(FileError, text):
        plotting.training_report(tmp_path / "a.jpg", nothing, HISTORY, nothing)
    folder = tmp_path / "none"
    text = (
        f"training_report: expected an existing folder to write to, got {str(folder)!r}; "
        "create it first"
    )
    with refuses(FileError, text):
        plotting.training_report(folder / "a.png", nothing, HISTORY, nothing)


def test_report_leaves_the_old_file_if_writing_fails(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = numbers(rng)
    network, history = fitted(split, Dense(1), loss="mean_squared_error")
    path = tmp_path / "a.png"
    path.write_text("old", encoding="utf-8")

    def half(self: Figure, file: Path, **options: Any) -> None:
        assert file.parent == tmp_path
        assert file != path
        file.write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    text = (
        f"training_report: expected to write {str(path)!r}, got No space left on device; "
        "check the folder's permissions and free space"
    )
    with refuses(FileError, text):
        plotting.training_report(path, network, history, split)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plotting.plot_history(HISTORY),
        lambda: plotting.plot_confusion([0], [0]),
        lambda: plotting.plot_weights(np.eye(4), (2, 2)),
        lambda: plotting.plot_predictions(np.eye(4), [0] * 4, [0] * 4, (2, 2)),
        lambda: plotting.plot_regression([1.0], [1.0]),
        lambda: plotting.training_report("a.png", *[None] * 3),  # type: ignore[arg-type]
    ],
    ids=["history", "confusion", "weights", "predictions", "regression", "report"],
)
def test_without_matplotlib_each_says_how_to_get_it(
    draw: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    name = request.node.callspec.id
    where = "training_report" if name == "report" else f"plot_{name}"
    text = f"{where}: expected the package matplotlib, got none; run: pip install matplotlib"
    with refuses(InputError, text):
        draw()
