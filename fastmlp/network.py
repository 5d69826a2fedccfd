"""Network: layers in a row and a loss, with all parameters in one flat vector.

The network owns `params` and `grads` and hands views of them to its layers; weights of all layers
come first, then all biases. Training is in `training`, files are in `serialization`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import checks, columns, engine
from .attributes import Checked, Fixed, Numbers, Views
from .errors import InputError, InputTypeError, counted
from .groups import Group, remember
from .kernels.memory import aligned_copy, aligned_zeros
from .layers import LAYERS, Activation, Dense, Dropout, Layer, chain_sizes
from .losses import LOSSES, BuiltInLoss, Loss, Quantile, linked
from .lowering import can_compile
from .objective import Objective
from .registry import checked_keywords
from .summary import Summary, summary
from .targets import Encoded, Samples, TargetCoder

if TYPE_CHECKING:
    from .history import History
    from .predictor import Predictor
    from .trace import Trace
    from .training import Callback

_MOST_BYTES = 2**47  # what processors can address


class Plan(NamedTuple):
    """What a network's sizes come to for a number of features, and the names of those."""

    n_features: int
    n_outputs: int
    groups: tuple[Group, ...]
    feature_names: tuple[str, ...] | None = None


@checked_keywords
class Network:
    """A multi-layer perceptron.

    Parameters
    ----------
    layers : sequence of Layer
        Dense layers, activations, dropout and layers of your own, in order.
    loss : str or Loss, default "softmax_cross_entropy"
        What to minimise; it also says what targets and predictions are.
    dtype : {"float32", "float64"}, default "float32"
        Type of all parameters and computations.
    random_state : int, numpy Generator or None, default 0
        Seed of initial weights, of shuffling and of dropout; None draws a new one.
    l1, l2 : float, default 0
        Factors of the penalties on weights, not on biases, which are added to the loss.

    Attributes
    ----------
    params, grads : ndarray of shape (n_params,)
        All parameters, and the gradient of the last batch. Setting one copies finite numbers in.
    layers : tuple of Layer
        As given. Neither they nor `dtype`, `n_features` and `n_outputs` can be set.
    loss : Loss
        May be set to another that reads targets in the same way.
    classes_ : ndarray or None
        Labels in the order of the outputs, once fitted on labels.
    feature_names : tuple of str or None
        Names of the input columns, kept in model files: those of the first data frame that `fit`
        is given, or as set; None until then. Columns of data frames are put into this order by
        name from then on, and missing or other ones are refused; arrays are taken as they stand.
    trained_on : dict or None
        What the command line writes down about the training's data, kept in model files.

    Raises
    ------
    InputError
        For layers whose sizes do not match and options out of range.

    Notes
    -----
    What is minimised is the mean loss over samples plus `l1 sum |W| + l2 / 2 sum W^2` over the
    weights of all layers.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Adam, Dense, Network, ReLU
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> net = Network([Dense(16), ReLU(), Dense(2)], random_state=0)
    >>> history = net.fit(X, y, optimizer=Adam(0.01), epochs=50)
    >>> net.score(X, y) > 0.9
    True
    """

    layers = Fixed[tuple[Layer, ...]]("Layers, in order.", "make a new network of other layers")
    dtype = Fixed[np.dtype]("Type of all parameters.", "make a new network of another dtype")
    n_features = Fixed[int]("Columns of the inputs.", "make a new network for other columns")
    n_outputs = Fixed[int]("Columns of the outputs.", "make a new network for other outputs")
    groups = Fixed[tuple[Group, ...]]("Parts of `params`, by name.", "make a new network")
    params = Numbers("All parameters, in one vector.")
    grads = Numbers("The gradient of the last batch, in one vector.")
    loss = Checked[Loss]("What is minimised.", lambda network, where, value: network._taken(value))
    seed = Checked[int](
        "Seed of initial weights, shuffling and dropout.",
        lambda network, where, value: checks.seed("Network", value),
    )
    l1 = Checked[float](
        "Factor of the sum of the weights' absolute values.",
        lambda network, where, value: checks.number("Network", "l1", value, 0),
    )
    l2 = Checked[float](
        "Factor of half the sum of the weights' squares.",
        lambda network, where, value: checks.number("Network", "l2", value, 0),
    )
    feature_names = Checked[tuple[str, ...] | None](
        "Names of the input columns, or None.",
        lambda network, where, value: _checked_names(where, value, network.n_features),
    )

    def __init__(
        self,
        layers: Iterable[Layer],
        loss: str | Loss = "softmax_cross_entropy",
        dtype: Any = "float32",
        random_state: Any = 0,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        self._layers = _checked_layers(layers)
        self._dtype = checks.float_type("Network", dtype)
        self._n_features = self._n_outputs = 0
        self.coder: TargetCoder | None = None
        self.loss, self.seed, self.l1, self.l2 = loss, random_state, l1, l2
        self.feature_names = None
        self.trained_on: dict[str, Any] | None = None
        self._groups: tuple[Group, ...] = ()
        self.spare_engines: dict[tuple[Any, ...], list[engine.Engine]] = {}
        self._params = self._grads = np.empty(0, self._dtype)
        n_in = _known_width(self.layers)
        if n_in is not None:
            self.build(n_in)
        for layer in self.layers:
            layer.is_taken = True

    def __repr__(self) -> str:
        inner = ", ".join(repr(layer) for layer in self.layers)
        return f"Network([{inner}], loss={self.loss.name!r}, dtype={self.dtype.name!r})"

    @property
    def is_built(self) -> bool:
        """Whether all sizes are known and the parameters are there."""
        return self.n_features > 0

    def build(self, n_features: int) -> Network:
        """Settle all sizes, allocate the flat vectors and draw initial weights.

        Called by itself at the first data, or by the constructor if the first layer knows its
        input.

        Parameters
        ----------
        n_features : int
            Columns of the inputs.

        Returns
        -------
        Network
            Itself.

        Raises
        ------
        InputError
            For layers whose sizes do not match.
        """
        n_features = checks.whole_number("Network.build", "n_features", n_features, 1)
        self._build(self._plan(n_features))
        return self

    def _plan(self, n_features: int) -> Plan:
        """Sizes for so many features, found on copies: what does not fit changes no layer."""
        if n_features == self.n_features:
            return Plan(n_features, self.n_outputs, self.groups)
        trial = [copy.copy(layer) for layer in self.layers]
        return Plan(n_features, chain_sizes(trial, n_features), _groups(trial))

    def _build(self, plan: Plan) -> None:
        size = sum(group.size for group in plan.groups)
        if size * self.dtype.itemsize > _MOST_BYTES:
            raise InputError(
                "Network", "parameters that fit into memory", f"{size:,}", "use smaller layers"
            )
        self._params, self._grads = (aligned_zeros(size, self.dtype) for _ in range(2))
        self._n_features, self._n_outputs, self._groups = plan[:3]
        chain_sizes(self.layers, plan.n_features)
        self._bind()
        rng = np.random.default_rng(self.seed)
        for layer in self.layers:
            layer.initialize(rng)

    def _read(
        self, where: str, X: Any, y: Any, sample_weight: Any, search: bool = True
    ) -> tuple[Samples, Plan, TargetCoder]:
        """Samples to train on, with the sizes and the reading of y that they lead to.

        Everything is checked and nothing changed, which `_adopt` does after. Where X is not to be
        searched for nan and infinities, a fit finds them by what they do.
        """
        names = columns.names_of(where, X) if self.feature_names is None else self.feature_names
        order = columns.order_in(where, X, names)
        X, weights = checks.rows(
            where, X, y, sample_weight, self.n_features or None, self.dtype, search
        )
        X = X if order is None else X[:, order]
        plan = self._plan(X.shape[1])._replace(feature_names=names)
        if not (plan.groups or self.is_built):
            raise InputError(
                where, "a layer with a number of units", "none", "end with Dense(n_outputs)"
            )
        coder = self.coder or TargetCoder.learn(where, y, self.loss, plan.n_outputs)
        return Samples(X, coder.encode(where, y, self.dtype), weights), plan, coder

    def _adopt(self, plan: Plan, coder: TargetCoder) -> None:
        """Build the network if it is not built yet; remember how y is read and what X names."""
        if not self.is_built:
            self._build(plan)
        self.coder = coder
        if plan.feature_names is not None:
            self.feature_names = plan.feature_names

    def _taken(self, value: Any) -> Loss:
        """The loss that a name or object stands for, if it reads targets as the first fit did."""
        loss: Loss = LOSSES.make(value, Loss)
        if self.coder is not None and not self.coder.suits(loss):
            raise InputError(
                "Network.loss", "a loss for targets like those of the first fit", loss.name,
                "make a new network",
            )  # fmt: skip
        return loss

    def _undo(self) -> Callable[[], None]:
        """What unbuilds a network that is not built yet, after a fit that fails by its data."""
        owners = [self, *self.layers]
        attributes = [vars(owner).copy() for owner in owners]

        def undo() -> None:
            for owner, kept in zip(owners, attributes, strict=True):
                vars(owner).clear()
                vars(owner).update(kept)

        return undo

    def _bind(self) -> None:
        """Hand each layer its views of the flat vectors."""
        self.spare_engines = {}  # they hold addresses of the former ones
        remember(self.params, self.groups)
        starts = {group.name: group for group in self.groups}
        for number, layer in enumerate(self.layers):
            views: list[dict[str, np.ndarray]] = [{}, {}]
            for key, shape in layer.parameter_shapes().items():
                group = starts[f"{number}.{key}"]
                for view, flat in zip(views, (self.params, self.grads), strict=True):
                    view[key] = flat[group.start : group.start + group.size].reshape(shape)
            layer.bind(Views(views[0]), Views(views[1]))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the layers' views, which `__setstate__` makes anew."""
        state = self.__dict__ | {"spare_engines": {}}
        state["_layers"] = tuple(_unbound(layer) for layer in self.layers)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._params, self._grads = aligned_copy(self.params), aligned_copy(self.grads)
        for layer in self.layers:
            layer.is_taken = True
        if self.is_built:
            self._bind()

    def named_parameters(self) -> dict[str, np.ndarray]:
        """Views of all parameters by name.

        Returns
        -------
        dict of str to ndarray
            "0.W" is the weights of layer 0; writing to a view changes the network.
        """
        return {
            f"{number}.{key}": view
            for number, layer in enumerate(self.layers)
            for key, view in getattr(layer, "parameters", {}).items()
        }

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the outputs, or None."""
        return None if self.coder is None else self.coder.classes

    @checked_keywords
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        optimizer: Any = "adam",
        epochs: int = 10,
        batch_size: int = 32,
        validation_data: Any = None,
        sample_weight: Any = None,
        shuffle: bool = True,
        n_threads: int | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = False,
        keep_finite: bool = False,
    ) -> History:
        """Train on samples, from the parameters as they are.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            One row for each sample: finite numbers, converted to the network's dtype by batches.
            Names of a frame's columns become `feature_names`, where there are none yet.
        y : array of shape (n,) or (n, n_targets)
            Labels, one-hot rows, probabilities or numbers, as the loss takes them.
        optimizer : str, Optimizer or object with `step(params, grads)`, default "adam"
            What turns gradients into steps.
        epochs : int, default 10
            How often all samples are visited.
        batch_size : int, default 32
            Samples of a step.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Samples to judge by after each epoch.
        sample_weight : array of shape (n,), optional
            Weights of the samples in the loss; by default equal ones.
        shuffle : bool, default True
            Whether to visit samples in a new order each epoch.
        n_threads : int, optional
            By default as many as pay for the work of a step, but one in a thread that is not the
            main one, and at most as OMP_NUM_THREADS or NUMBA_NUM_THREADS say.
        callbacks : sequence of callable, default ()
            Called as `f(network, history)` after each epoch; a true result ends the fit. One may be
            a `Checkpoint`. Of an object that has a method `on_batch(network, step, loss)`, that is
            called after each batch, with steps counted from 0; a true result ends the fit there,
            and the unfinished epoch is not in the history. Each batch is then a call of compiled
            code of its own, which costs some 50 microseconds, and more with several threads, as
            they are started for each.
        progress : bool, default False
            Whether to show a progress bar.
        keep_finite : bool, default False
            Whether a fit whose loss turns nan or infinite leaves the parameters of the last epoch
            that ended well, for which it keeps a copy of them.

        Returns
        -------
        History
            Losses, scores, learning rates and seconds by epoch.

        Raises
        ------
        InputError
            For data that do not fit the network, before anything is changed, and for a loss that
            turns nan or infinite, which names the epoch and the learning rate.
        """
        from . import training

        return training.fit(
            self,
            X,
            y,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            sample_weight=sample_weight,
            shuffle=shuffle,
            n_threads=n_threads,
            callbacks=callbacks,
            progress=progress,
            keep_finite=keep_finite,
        )

    def _matrix(self, where: str, X: Any) -> np.ndarray:
        if not self.is_built:
            raise InputError(
                where,
                "a network with known input columns",
                "one not built yet",
                "call fit or build(n_features) first",
            )
        order = columns.order_in(where, X, self.feature_names)
        values = checks.matrix(where, "X", X, self.n_features)
        return values if order is None else values[:, order]

    def _coder(self, where: str) -> TargetCoder:
        if self.coder is None:
            raise InputError(
                where, "a fitted network", "one that has seen no targets", "call fit first"
            )
        return self.coder

    def outputs(self, X: Any) -> np.ndarray:
        """Linear outputs of the last layer, before the loss's link.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            One row for each sample.

        Returns
        -------
        ndarray of shape (n, n_outputs)
            In the network's dtype.

        Raises
        ------
        InputError
            If the network is not built, or for inputs that do not fit it.
        """
        return self._answers("Network.outputs", X, link=False)

    def _outputs(self, X: np.ndarray, link: bool) -> np.ndarray:
        if can_compile(self.layers, self.loss):
            return engine.outputs(self, X, link)
        from . import layerwise

        checks.valid_sparse("Network.outputs", "X", X)  # callbacks may have changed held-out rows
        values = layerwise.forward(self, X)
        return linked(self.loss, values) if link else values

    def _answers(self, where: str, X: Any, link: bool) -> np.ndarray:
        """Outputs of rows as users pass them, nan refused."""
        return checks.answers(where, self._outputs(self._matrix(where, X), link))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Outputs after the link: class probabilities, label probabilities, or predicted numbers.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            One row for each sample.

        Returns
        -------
        ndarray of shape (n, n_outputs)
            In the network's dtype.

        Raises
        ------
        InputError
            If the network is not built, or for inputs that do not fit it.
        """
        return self._answers("Network.predict_proba", X, link=True)

    def predict(self, X: Any) -> np.ndarray:
        """Labels, or numbers for a regression loss.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            One row for each sample.

        Returns
        -------
        ndarray of shape (n,) or (n, n_targets)
            Labels as fit was given them; of one-hot rows and probabilities, numbers of classes; of
            several labels, 1 and 0; all other numbers in the network's dtype.

        Raises
        ------
        InputError
            If the network is not fitted, or for inputs that do not fit it.
        """
        coder = self._coder("Network.predict")
        return coder.decode(self._answers("Network.predict", X, link=True))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy for labels, R^2 for numbers, minus the loss for several quantiles.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            As for `evaluate`.
        y : array of shape (n,) or (n, n_targets)
            As for `evaluate`.
        sample_weight : array of shape (n,), optional
            As for `evaluate`.

        Returns
        -------
        float
            Larger is better; at most 1.

        Raises
        ------
        InputError
            As `evaluate`.
        """
        return self.evaluate(X, y, sample_weight)[1]

    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[float, float]:
        """Mean loss and score on samples.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            One row for each sample.
        y : array of shape (n,) or (n, n_targets)
            What fit takes: labels, rows or numbers.
        sample_weight : array of shape (n,), optional
            Weights of the samples; by default equal ones.

        Returns
        -------
        loss : float
            Penalties left out.
        score : float
            As `score` gives it.

        Raises
        ------
        InputError
            If the network is not fitted, or for data that do not fit it.
        """
        where = "Network.evaluate"
        self._coder(where)
        return self._evaluate(*self._read(where, X, y, sample_weight)[0])

    def _evaluate(
        self, X: np.ndarray, encoded: Encoded, weights: np.ndarray
    ) -> tuple[float, float]:
        outputs = self._outputs(X, link=False)
        if isinstance(self.loss, BuiltInLoss):
            loss, _ = self.loss.rows(outputs, *encoded, weights)
        else:
            even = weights if weights.size else np.ones(X.shape[0], self.dtype)
            loss, _ = self.loss.value_and_gradient(outputs, encoded.dense(self.n_outputs), even)
        return loss, self._score(outputs, encoded, weights, loss)

    def _score(
        self, outputs: np.ndarray, encoded: Encoded, weights: np.ndarray, loss: float
    ) -> float:
        if isinstance(self.loss, Quantile) and len(self.loss.levels) > 1:
            return -loss
        targets, predicted = encoded.dense(self.n_outputs), linked(self.loss, outputs)
        even = weights if weights.size else None
        if self.loss.task == "classes":
            right = np.argmax(predicted, axis=1) == np.argmax(targets, axis=1)
            return float(np.average(right, weights=even))
        if self.loss.task == "binary":
            right = ((predicted > 0.5) == (targets > 0.5)).all(axis=1)
            return float(np.average(right, weights=even))
        return _r_squared(predicted.astype(np.float64), targets.astype(np.float64), even)

    def loss_and_gradient(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> tuple[float, np.ndarray]:
        """Mean loss over all samples, penalties included, and its gradient.

        Dropout is off: this is the objective itself, as L-BFGS or a gradient check needs it.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            As for `fit`; a network that is not built yet is built for it.
        y : array of shape (n,) or (n, n_targets)
            As for `fit`.
        sample_weight : array of shape (n,), optional
            As for `fit`.

        Returns
        -------
        loss : float
            Of all samples.
        gradient : ndarray of shape (n_params,)
            With respect to `params`: a copy of `grads`, which holds it too.

        Raises
        ------
        InputError
            For data that do not fit the network.
        """
        samples, plan, coder = self._read("Network.loss_and_gradient", X, y, sample_weight)
        self._adopt(plan, coder)
        if can_compile(self.layers, self.loss):
            loss, self.grads[...] = Objective(self, samples)()
        else:
            from . import layerwise

            loss = layerwise.gradient(self, *samples)
        return loss, self.grads.copy()

    def trace(self, x: Any, y: Any, *, optimizer: Any = "sgd", training: bool = False) -> Trace:
        """Follow one sample forward, through the loss, back and through an update.

        The network itself stays as it is: the trace is made with a copy of it.

        Parameters
        ----------
        x : array of shape (n_features,) or (1, n_features), data frame or sparse matrix of one row
            The sample.
        y : label, number or array of shape (n_outputs,)
            Its target, as an entry of what `fit` takes. A network that is not fitted takes whole
            numbers for classes, from 0.
        optimizer : str, Optimizer, object with `step(params, grads)` or None, default "sgd"
            What makes the update: its first step. None leaves the update out.
        training : bool, default False
            Whether Dropout drops units, as it does in the first step of `fit`.

        Returns
        -------
        Trace
            For each layer z, a, slope, delta, dW, db and the update as named arrays, with the
            numbers of `fastmlp.reference` beside them.

        Raises
        ------
        InputError
            For more than one sample, and data that do not fit the network.

        Notes
        -----
        Gradients are those of `loss_and_gradient`, and with `training` the parameters after the
        update are those after ``fit([x], [y], epochs=1)``.

        Examples
        --------
        >>> from fastmlp import Dense, Network, ReLU
        >>> net = Network([Dense(3, 2), ReLU(), Dense(2)], dtype="float64")
        >>> trace = net.trace([1.0, 2.0, 3.0], 1, optimizer="adam")
        >>> trace[0].z.shape, trace["2.delta"].shape, trace["2.dW"].shape
        ((2,), (2,), (2, 2))
        """
        from . import tracing

        return tracing.trace(self, x, y, optimizer, training)

    def compile_predictor(self) -> Predictor:
        """An immutable, thread-safe copy of the network for serving.

        Returns
        -------
        Predictor
            What gives outputs after the link; see `fastmlp.predictor`.

        Raises
        ------
        InputError
            If the network is not built or has parts of your own.
        """
        from .predictor import Predictor

        return Predictor(self)

    def save(self, path: Any) -> None:
        """Write the network to a safetensors file, whole or not at all.

        What `load` could not give back is refused, and the file is read again before it takes the
        place of an older one.

        Parameters
        ----------
        path : str or path
            A name that ends in .safetensors, in a folder that exists.

        Raises
        ------
        InputError
            If the network is not built, has parameters that are not finite, labels that are neither
            numbers nor text, or layers, losses or initializers of your own without a name of their
            own or with settings that are neither numbers nor text.
        FileError
            If the file cannot be written.
        """
        from . import serialization

        serialization.save(self, path)

    @classmethod
    def load(cls, path: Any, custom: Iterable[type] = ()) -> Network:
        """Read a network that `save` or a `Checkpoint` wrote; runs nothing that is in the file.

        Parameters
        ----------
        path : str or path
            The file.
        custom : iterable of type, default ()
            Classes of your own layers, losses and initializers that the file names.

        Returns
        -------
        Network
            With the same parameters, bit for bit.

        Raises
        ------
        FileError
            If the file is missing, damaged, foreign or of a newer format.
        """
        from . import serialization

        return serialization.load(path, custom)

    def summary(self) -> Summary:
        """The layers with their sizes, parameters and memory, as text.

        Returns
        -------
        str
            A table, which a prompt shows as it is; elsewhere `print` it.

        Examples
        --------
        >>> from fastmlp import Dense, Network, ReLU
        >>> Network([Dense(64, 128), ReLU(), Dense(128, 10)]).summary()
        Network of float32, loss softmax_cross_entropy
           layer           outputs  parameters
        0  Dense(64, 128)      128       8,320
        1  ReLU()              128           0
        2  Dense(128, 10)       10       1,290
        64 inputs, 9,610 parameters: 38.4 kB, with gradients and the state of Adam 154 kB
        """
        return summary(self)

    def input_gradients(self, X: Any, output: int = 0) -> np.ndarray:
        """Gradient of one linear output (before the loss's link) with respect to X.

        Dropout is off, and `grads` stays as it is.

        Parameters
        ----------
        X : array or data frame of shape (n, n_features)
            One row for each sample.
        output : int, default 0
            Which output: the class's place in `classes_`, or the target's.

        Returns
        -------
        ndarray of shape (n, n_features)
            In the network's dtype.

        Raises
        ------
        InputError
            If the network is not built, for inputs that do not fit it, and if there is no such
            output.

        Examples
        --------
        >>> from fastmlp import Dense, Network
        >>> net = Network([Dense(2, 1, initializer="zeros")], "mse")
        >>> net.layers[0].W = [[3.0], [4.0]]
        >>> net.input_gradients([[1.0, 1.0], [5.0, 0.0]])
        array([[3., 4.],
               [3., 4.]], dtype=float32)
        """
        from . import layerwise

        where = "Network.input_gradients"
        values = self._matrix(where, checks.array(where, "X", X))
        return layerwise.input_gradients(self, where, values, output)


def _checked_layers(layers: Iterable[Any]) -> tuple[Layer, ...]:
    try:
        found = tuple(layers)
    except TypeError:
        raise InputTypeError(
            "Network", "a list of layers", type(layers).__name__, "write [Dense(32), ReLU(), ...]"
        ) from None
    if not found:
        raise InputError("Network", "at least one layer", "none", "start with Dense(n_units)")
    for number, layer in enumerate(found):
        if not isinstance(layer, Layer):
            got = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
            raise InputTypeError(
                f"Network, layer {number}",
                "a Layer object",
                got,
                "pass objects such as Dense(32) or ReLU()",
            )
    for layer in found:
        if layer.is_taken:
            raise InputError(
                "Network",
                "layers of its own",
                f"{layer!r} of another network",
                "make a new layer for each network",
            )
    if len({id(layer) for layer in found}) < len(found):
        raise InputError(
            "Network",
            "each layer once",
            "one object in two places",
            "make a new layer for each place",
        )
    return found


def _checked_names(where: str, names: Any, n_features: int) -> tuple[str, ...] | None:
    """Names of all columns, each once; None for none."""
    if names is None:
        return None
    expected = "a sequence of texts"
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InputTypeError(where, expected, type(names).__name__, 'write ["age", "income"]')
    found = tuple(names)
    for name in found:
        if not isinstance(name, str):
            raise InputTypeError(where, expected, type(name).__name__, "turn names into text")
    if len(set(found)) < len(found):
        raise InputError(where, "each name once", "one twice", "give columns different names")
    if n_features and len(found) != n_features:
        got = counted(len(found), "name")
        raise InputError(where, f"{counted(n_features, 'name')}", got, "name every column")
    return found


def _known_width(layers: Sequence[Layer]) -> int | None:
    """Columns of the input if a layer says so, be it behind some that keep the width."""
    sized = [layer for layer in layers if not isinstance(layer, Activation | Dropout)]
    return sized[0].n_in if sized else None


def _groups(layers: Sequence[Layer]) -> tuple[Group, ...]:
    """Where each parameter stands in the flat vectors: matrices first, then vectors."""
    found = []
    for number, layer in enumerate(layers):
        for key, shape in layer.parameter_shapes().items():
            is_weight = len(shape) > 1
            scale, limit = 1.0, None
            if isinstance(layer, Dense) and is_weight:
                scale = layer.used_initializer.parameter_scale(shape[0])
                limit = layer.max_norm
            size, n_columns = math.prod(shape), shape[-1] if shape else 1
            name = f"{number}.{key}"
            found.append(Group(name, 0, size, is_weight, scale, limit, n_columns))
    found.sort(key=lambda group: not group.is_weight)  # stable: layers stay in order
    start, placed = 0, []
    for group in found:
        placed.append(group._replace(start=start))
        start += group.size
    return tuple(placed)


def _unbound(layer: Layer) -> Layer:
    """A shallow copy without views, caches or memory of the last batch."""
    twin = copy.copy(layer)
    built_in = type(layer) in LAYERS  # in a layer of the user's own, nothing says what is a cache
    for key in list(twin.__dict__):
        if key in ("parameters", "gradients") or (built_in and key.startswith("_")):
            del twin.__dict__[key]
    if isinstance(layer, Dense):
        twin.parameters, twin._X = {}, None  # type: ignore[attr-defined]
    return twin


def _r_squared(predicted: np.ndarray, true: np.ndarray, weights: np.ndarray | None) -> float:
    """Coefficient of determination, averaged over the outputs; a constant target scores 0 or 1."""
    mean = np.average(true, axis=0, weights=weights)
    residual = np.average((true - predicted) ** 2, axis=0, weights=weights)
    spread = np.average((true - mean) ** 2, axis=0, weights=weights)
    constant = np.where(residual == 0, 1.0, 0.0)
    safe = np.where(spread > 0, spread, 1.0)
    return float(np.mean(np.where(spread > 0, 1.0 - residual / safe, constant)))
