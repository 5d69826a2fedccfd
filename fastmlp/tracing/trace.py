"""The trace of one sample: all numbers of its forward and backward pass through a network.

`tracing.recorder` fills these objects; this module looks arrays up and prints them.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError
from .layer_trace import LayerTrace, as_html, as_text, heads, lines, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_LAYERS = 8  # a table of more layers omits those in the middle


class Trace:
    """One sample's forward and backward pass through a network, as `Network.trace` returns it.

    `trace["0.z"]` and `trace[0].z` are the same array; the number is the layer's index in
    `network.layers`. All arrays are read-only copies in the network's dtype.

    Parameters
    ----------
    layers : list of LayerTrace
        One for each layer of the network.
    outcome : Outcome
        Target, prediction and loss.
    step : Step or None
        The optimizer's step, if there was one.
    reference : Reference
        The same numbers computed by `fastmlp.reference`, or why there are none.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        All arrays by name.
    loss, penalty : float
        Loss of the sample, and the penalties of `l1` and `l2`.
    loss_after : float or None
        The loss of the same sample after the update.
    target, prediction : ndarray of shape (n_outputs,)
        The target as numbers (a one-hot row for a class), and the outputs after the loss's link.
    classes : ndarray or None
        Labels in the order of the outputs, if these stand for classes.
    optimizer : str or None
        Name of the optimizer that made the update.
    learning_rate : float or None
        Learning rate of the update.
    reference : mapping of str to ndarray
        The numbers of the per-sample reference in float64, by the names of the corresponding
        arrays, and "loss" and "prediction"; empty if the reference has no counterpart.
    differences : dict of str to float
        The largest difference of each array from the reference's.
    no_reference : str
        The part that the reference has no counterpart for; empty if it has one.

    Notes
    -----
    A `Dense` layer l has, for its input x and the activation f that follows it:

    - `x`, `W`, `b`, and `z = x W + b`;
    - `a = f(z)` and `slope = f'(z)`; without an activation a = z and the slope is 1;
    - `da`, `delta`, `dx`: gradients of the loss with respect to a, z and x, so that
      `delta = da * slope` and `dx = W delta`;
    - `dW` (the outer product of x and delta, plus the penalties' gradient) and `db = delta`;
    - `update_W`, `update_b`: what the step adds; `W_after`, `b_after`: the result.

    All other layers have their input `z`, their output `a`, `da` and `delta`; activations and
    dropout also have `slope`. Parameters of your own layers are named like those of `Dense`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense, Network, Tanh
    >>> net = Network([Dense(4, 3), Tanh(), Dense(2)], dtype="float64")
    >>> trace = net.trace([1.0, 0.0, 2.0, 0.0], 1)
    >>> trace[0].z.shape, trace["0.dW"].shape, trace.target
    ((3,), (4, 3), array([0., 1.]))
    >>> bool(np.allclose(trace[0].delta, trace[2].dx * trace[0].slope))
    True
    >>> trace.loss_after < trace.loss
    True
    >>> trace.largest_difference < 1e-15
    True
    """

    def __init__(
        self, layers: list[LayerTrace], outcome: Outcome, step: Step | None, reference: Reference
    ) -> None:
        self.layers = layers
        self.loss, self.penalty, self.target, self.prediction, self.classes = outcome
        self.optimizer = self.learning_rate = self.loss_after = None
        if step is not None:
            self.optimizer, self.learning_rate, self.loss_after = step
        self._reference, self.no_reference = reference
        self._arrays = {
            f"{layer.number}.{name}": values
            for layer in layers
            for name, values in layer.arrays.items()
        }
        self.differences = self._compare()

    def _compare(self) -> dict[str, float]:
        """The largest difference of each array from the reference's."""
        ours = {**self._arrays, "loss": np.array(self.loss), "prediction": self.prediction}
        found = {}
        with np.errstate(all="ignore"):
            for name, values in self._reference.items():
                found[name] = float(np.abs(ours[name] - values).max())
        for layer in self.layers:
            mine = f"{layer.number}."
            layer.differences = {
                name.removeprefix(mine): value
                for name, value in found.items()
                if name.startswith(mine)
            }
        return found

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """All arrays by name."""
        return MappingProxyType(self._arrays)

    @property
    def reference(self) -> Mapping[str, np.ndarray]:
        """The numbers of the per-sample reference, by the names of the corresponding arrays."""
        return MappingProxyType(self._reference)

    @property
    def largest_difference(self) -> float | None:
        """The largest difference from the reference; None if it has no counterpart."""
        return float(np.max(list(self.differences.values()))) if self.differences else None

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return self._named(key)
        if isinstance(key, bool) or not isinstance(key, int | np.integer):
            raise InputTypeError(
                "Trace",
                "the number of a layer or a name such as '0.z'",
                type(key).__name__,
                "write trace[0].z or trace['0.z']",
            )
        n = len(self.layers)
        if not -n <= key < n:
            expected = f"a layer from 0 to {n - 1}"
            raise InputError("Trace", expected, str(key), "count them as network.layers does")
        return self.layers[int(key)]

    def _named(self, name: str) -> np.ndarray:
        if name in self._arrays:
            return self._arrays[name]
        number = name.partition(".")[0]
        mine = [known for known in self._arrays if known.partition(".")[0] == number]
        some = ", ".join(mine or ["0.z", "0.delta"]) + ("" if mine else ", say")
        raise InputError("Trace", f"the name of an array: {some}", repr(name), "see trace.arrays")

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[LayerTrace]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def blocks(self) -> list[list[LayerTrace]]:
        """Groups of layers that are shown together.

        Returns
        -------
        list of list of LayerTrace
            Each a Dense layer and the activation that follows it, or another layer alone.
        """
        found: list[list[LayerTrace]] = []
        for layer in self.layers:
            if layer.is_shown_before:
                found[-1].append(layer)
            else:
                found.append([layer])
        return found

    def label_of(self, values: np.ndarray) -> str:
        """A short text for a target or a prediction.

        Parameters
        ----------
        values : ndarray of shape (n_outputs,)
            `target` or `prediction`.

        Returns
        -------
        str
            The class, or the first few numbers.
        """
        if self.classes is not None and values.size == 1:
            return str(self.classes[int(values[0] > 0.5)])
        if self.classes is not None:
            return str(self.classes[int(np.argmax(values))])
        shown = ", ".join(f"{value:.4g}" for value in values[:4])
        return shown if values.size <= 4 else f"{shown}, ... ({values.size} outputs)"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON.

        Returns
        -------
        dict
            Numbers, lists of numbers and text.
        """
        return {
            "loss": self.loss,
            "penalty": self.penalty,
            "loss_after": self.loss_after,
            "target": self.target.tolist(),
            "prediction": self.prediction.tolist(),
            "classes": None if self.classes is None else self.classes.tolist(),
            "optimizer": self.optimizer,
            "learning_rate": self.learning_rate,
            "layers": [layer.title for layer in self.layers],
            "arrays": {name: values.tolist() for name, values in self._arrays.items()},
            "differences_from_reference": dict(self.differences),
            "no_reference": self.no_reference,
        }

    def plot(self, image_shape: tuple[int, int] | None = None) -> Figure:
        """Draw the activations of the forward pass, and below them the deltas of the backward pass.

        Parameters
        ----------
        image_shape : tuple of two ints, optional
            Height and width, if the sample is an image.

        Returns
        -------
        Figure
            A pyplot figure, which notebooks and `plt.show()` display; `fastmlp.plotting.plot_trace`
            makes a figure that is independent of pyplot.

        Raises
        ------
        InputError
            For a shape that does not fit the sample, or without matplotlib.
        """
        from ..plotting import show_trace

        return show_trace(self, image_shape)

    def summary(self) -> list[str]:
        """Target, prediction, loss, update and reference in a sentence each.

        Returns
        -------
        list of str
            One line each.
        """
        penalty = f" + penalty {self.penalty:.4g}" if self.penalty else ""
        after = ""
        if self.optimizer is not None:
            rate = "" if self.learning_rate is None else f" at learning rate {self.learning_rate:g}"
            after = f"; {self.loss_after:.6g} after one step of {self.optimizer}{rate}"
        told = [
            f"target {self.label_of(self.target)}, prediction {self.label_of(self.prediction)}, "
            f"loss {self.loss:.6g}{penalty}{after}"
        ]
        if self.differences:
            worst = max(self.differences, key=lambda name: self.differences[name])
            told.append(
                f"largest difference from fastmlp.reference {self.largest_difference:.1e} ({worst})"
            )
        else:
            told.append(f"fastmlp.reference has no counterpart for {self.no_reference}")
        return told

    def __repr__(self) -> str:
        return "\n".join(
            [
                "Trace of one sample",
                *self.summary(),
                as_text([heads(self.layers), *self._table()]),
            ]
        )

    def _repr_html_(self) -> str:
        first = "<br>".join(html.escape(line) for line in self.summary())
        return f"<p>{first}</p>{as_html([heads(self.layers), *self._table()])}"

    def _table(self) -> list[tuple[str, ...]]:
        """One line per array; if there are many layers, those in the middle are omitted."""
        blocks, found = self.blocks(), list[tuple[str, ...]]()
        half = _MOST_LAYERS // 2
        for place, block in enumerate(blocks):
            if len(blocks) <= _MOST_LAYERS or not half <= place < len(blocks) - half:
                found += lines(block, [f"{part.number} {short(part.title)}" for part in block])
            elif place == half:
                left_out = len(blocks) - 2 * half
                found.append((f"... {left_out} more: print(trace[{block[0].number}])",))
        return found


class Outcome(NamedTuple):
    """Target, prediction and loss of the sample."""

    loss: float
    penalty: float
    target: np.ndarray
    prediction: np.ndarray
    classes: np.ndarray | None


class Step(NamedTuple):
    """The optimizer's step and its result."""

    optimizer: str
    learning_rate: float | None
    loss_after: float


class Reference(NamedTuple):
    """Arrays of the per-sample reference by name, or the part that it has no counterpart for."""

    arrays: dict[str, np.ndarray]
    missing: str
