"""Network: a sequence of layers and a loss, with methods to train, predict, trace and save.

Its data are in the base class `Body`; each method calls the module that does the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .engine import layerwise
from .engine.lowering import can_compile
from .inputs import checks, samples
from .io import serialization
from .model.body import Body
from .model.summary import Summary, summary
from .registry import checked_keywords
from .serving import evaluation
from .serving.predictor import Predictor
from .tracing import recorder as tracing
from .tracing.trace import Trace
from .training import fit as training
from .training.batches import BatchTrainer
from .training.fit import Callback
from .training.history import History
from .training.objective import Objective


class Network(Body):
    """A multi-layer perceptron.

    Parameters
    ----------
    layers : sequence of Layer
        Dense layers, activations, dropout and your own layers, in order.
    loss : str or Loss, default "softmax_cross_entropy"
        What to minimise; it also defines what targets and predictions are.
    dtype : {"float32", "float64"}, default "float32"
        Type of all parameters and computations.
    random_state : int, numpy Generator or None, default 0
        Seed of initial weights, of shuffling and of dropout; None draws a new one.
    l1, l2 : float, default 0
        Factors of the penalties on weights (not on biases) that are added to the loss.

    Attributes
    ----------
    params, grads : ndarray of shape (n_params,)
        All parameters, and the gradient of the last batch. An assignment copies finite numbers in.
    buffers : ndarray of shape (n_buffers,)
        Numbers that are kept but not trained: running statistics of `BatchNorm`. Assigned like
        `params`.
    layers : tuple of Layer
        As given. `layers`, `dtype`, `n_features` and `n_outputs` cannot be set.
    loss : Loss
        May be set to another loss that reads targets in the same way.
    classes_ : ndarray or None
        Labels in the order of the outputs, once fitted on labels.
    feature_names : tuple of str or None
        Names of the input columns, saved in model files: set by the user or taken from the first
        data frame passed to `fit`; None before. From then on, columns of data frames are put into
        this order by name, and missing or unknown columns are refused; arrays are used unchanged.
    trained_on : dict or None
        What the command line stores about the training data, saved in model files.

    Raises
    ------
    InputError
        For layers whose sizes do not match and options out of range.

    Notes
    -----
    The objective is the mean loss over samples plus `l1 sum |W| + l2 / 2 sum W^2` over the weights
    of all layers.

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

    @checked_keywords
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        optimizer: Any = "adam",
        epochs: int = 10,
        batch_size: int = 32,
        validation_data: Any = None,
        sample_weight: Any = None,
        shuffle: bool = True,
        drop_last: bool = False,
        n_threads: int | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = False,
        keep_finite: bool = False,
        gradient_accumulation_steps: int = 1,
        comm: Any = None,
    ) -> History:
        """Train on samples, starting from the current parameters.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample: finite numbers, converted to the network's dtype batch by
            batch. Names of a frame's columns become `feature_names` if there are none yet. A
            table from `datasets.open_table` is read while the network trains, and may be larger
            than memory; it has its own targets and weights.
        y : array of shape (n,) or (n, n_targets), optional
            Labels, one-hot rows, probabilities or numbers, depending on the loss. Needed unless X
            is a stored table.
        optimizer : str, Optimizer or object with `step(params, grads)`, default "adam"
            The optimizer that updates the parameters.
        epochs : int, default 10
            Number of passes over all samples.
        batch_size : int, default 32
            Samples of a batch, after which parameters are updated.
        validation_data : (X, y), (X, y, sample_weight) or StoredTable, optional
            Samples for evaluation after each epoch.
        sample_weight : array of shape (n,), optional
            Weights of the samples in the loss; by default equal ones.
        shuffle : bool, default True
            Whether to visit samples in a new order each epoch. Of a stored table, these are its
            parts (such as row groups), and the rows within each window.
        drop_last : bool, default False
            Whether each epoch leaves out the last samples of its order if they do not fill a step.
        n_threads : int, optional
            By default as many as are worthwhile for the work of a step and have a core, limited by
            OMP_NUM_THREADS, NUMBA_NUM_THREADS, LOKY_MAX_CPU_COUNT and a container's quota; one if
            called from a thread other than the main one. Results do not depend on it.
        callbacks : sequence of callable, default ()
            Called as `f(network, history)` after each epoch; a true result ends the fit. One may be
            a `Checkpoint`, one an `EarlyStopping`, one an `EMA` or `SWA`. Of an object that has a
            method `on_batch(network, step, loss)`, that is called after each batch, or after each
            update where gradients are accumulated, with steps counted from 0; a true result ends
            the fit there, and the unfinished epoch is not in the history. Each step is then a call
            of compiled code of its own, which costs some 50 microseconds, and more with several
            threads, as they are started for each.
        progress : bool, default False
            Whether to show a progress bar, of epochs, or of the rows of a stored table.
        keep_finite : bool, default False
            Whether a fit whose loss turns nan or infinite leaves the parameters of the last epoch
            that ended well, or window of a stored table, for which it keeps a copy of them.
        gradient_accumulation_steps : int, default 1
            Over how many batches gradients are added up before the parameters are updated. The
            update is that of one batch of all their rows, with the memory of a small one: the
            gradient of the mean loss of all rows, penalties added once, clipped as a whole.
            Schedules, `on_batch` and losses count updates. Only `BatchNorm` sees single batches.
        comm : mpi4py.MPI.Intracomm or Ranks, optional
            The processes that share each step, all of which pass the same samples and options. The
            parameters have the same bits for any number of processes.

        Returns
        -------
        History
            Losses, scores, learning rates and seconds by epoch.

        Raises
        ------
        InputError
            For data that do not fit the network, before anything is changed, and for a loss that
            becomes nan or infinite; it names the epoch and the learning rate. Rows of a stored
            table are checked when they are read, by when others have been trained on.
        """
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
            drop_last=drop_last,
            n_threads=n_threads,
            callbacks=callbacks,
            progress=progress,
            keep_finite=keep_finite,
            gradient_accumulation_steps=gradient_accumulation_steps,
            comm=comm,
        )

    @checked_keywords
    def trainer(
        self,
        *,
        optimizer: Any = "adam",
        batch_size: int = 32,
        n_steps: int | None = None,
        n_threads: int | None = None,
    ) -> BatchTrainer:
        """What trains this network batch by batch, in a loop of your own.

        Parameters
        ----------
        optimizer : str, Optimizer or object with `step(params, grads)`, default "adam"
            The optimizer that updates the parameters.
        batch_size : int, default 32
            Maximum number of rows of a batch.
        n_steps : int, optional
            Steps of the whole loop, which some schedules need.
        n_threads : int, optional
            By default one, or more for steps of more than about a millisecond.

        Returns
        -------
        BatchTrainer
            Its `step(X, y)` makes one step.

        Raises
        ------
        InputError
            For a network that is not built, and for options that cannot be used.
        """
        return BatchTrainer(self, optimizer, batch_size, n_steps, n_threads)

    def outputs(self, X: Any) -> np.ndarray:
        """Linear outputs of the last layer, before the loss's link.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample.

        Returns
        -------
        ndarray of shape (n, n_outputs)
            In the network's dtype; with the loss `MeanOfMembers`, so many columns of each member.

        Raises
        ------
        InputError
            If the network is not built, or for inputs that do not fit it.
        """
        return evaluation.answers(self, "Network.outputs", X, link=False)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Outputs after the link: class probabilities, label probabilities, or predicted numbers.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
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
        return evaluation.answers(self, "Network.predict_proba", X, link=True)

    def predict(self, X: Any) -> np.ndarray:
        """Labels, or numbers for a regression loss.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample.

        Returns
        -------
        ndarray of shape (n,) or (n, n_targets)
            Labels as passed to fit; class numbers if fitted on one-hot rows or probabilities; 1 and
            0 for several labels; otherwise numbers in the network's dtype.

        Raises
        ------
        InputError
            If the network is not fitted, or for inputs that do not fit it.
        """
        return evaluation.predict(self, "Network.predict", X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy for labels, R^2 for numbers, minus the loss for several quantiles.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            As for `evaluate`.
        y : array of shape (n,) or (n, n_targets), optional
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

    def evaluate(self, X: Any, y: Any = None, sample_weight: Any = None) -> tuple[float, float]:
        """Mean loss and score on samples.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample.
        y : array of shape (n,) or (n, n_targets), optional
            As for `fit`: labels, rows or numbers. Needed unless X is a stored table.
        sample_weight : array of shape (n,), optional
            Weights of the samples; by default equal ones.

        Returns
        -------
        loss : float
            Without penalties.
        score : float
            As from `score`.

        Raises
        ------
        InputError
            If the network is not fitted, or for data that do not fit it.
        """
        return evaluation.evaluate(self, "Network.evaluate", X, y, sample_weight)

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
            With respect to `params`: a copy of `grads`, which holds it as well.

        Raises
        ------
        InputError
            For data that do not fit the network.
        """
        where = "Network.loss_and_gradient"
        read, plan, coder = samples.read(self, where, X, y, sample_weight)
        samples.adopt(self, plan, coder)
        if can_compile(self.layers, self.loss):
            loss, self.grads[...] = Objective(self, read)()
        else:
            loss = layerwise.gradient(self, *read)
        return loss, self.grads.copy()

    def trace(self, x: Any, y: Any, *, optimizer: Any = "sgd", training: bool = False) -> Trace:
        """Follow one sample forward, through the loss, back and through an update.

        The network itself is not changed: the trace is made with a copy.

        Parameters
        ----------
        x : array of shape (n_features,) or (1, n_features), data frame or sparse matrix of one row
            The sample.
        y : label, number or array of shape (n_outputs,)
            Its target, as one entry of the y for `fit`. A network that is not fitted reads whole
            numbers as class numbers, from 0.
        optimizer : str, Optimizer, object with `step(params, grads)` or None, default "sgd"
            The optimizer whose first step is the update. None omits the update.
        training : bool, default False
            Whether Dropout drops units, as it does in the first step of `fit`.

        Returns
        -------
        Trace
            For each layer z, a, slope, delta, dW, db and the update as named arrays, together with
            the numbers of `fastmlp.reference`.

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
        return tracing.trace(self, x, y, optimizer, training)

    def compile_predictor(self, weights: str | None = None) -> Predictor:
        """An immutable, thread-safe copy of the network for serving.

        Parameters
        ----------
        weights : {"float16", "bfloat16"}, optional
            Round the weights of dense layers to numbers of 16 bits. Single rows of a wide network
            are then answered sooner; see `fastmlp.serving.predictor` for the error.

        Returns
        -------
        Predictor
            Returns outputs after the link; see `fastmlp.serving.predictor`.

        Raises
        ------
        InputError
            If the network is not built or has user-defined parts, and for weights that float16
            cannot hold.
        """
        return Predictor(self, weights=weights)

    def save(self, path: Any) -> None:
        """Write the network to a safetensors file atomically.

        Anything that `load` could not restore exactly is refused, and the new file is read back
        before it replaces an older one.

        Parameters
        ----------
        path : str or path
            A name that ends in .safetensors, in a folder that exists.

        Raises
        ------
        InputError
            If the network is not built, has parameters that are not finite, labels that are neither
            numbers nor text, or user-defined layers, losses or initializers that have no `name` or
            have settings that are neither numbers nor text.
        FileError
            If the file cannot be written.
        """
        serialization.save(self, path)

    @classmethod
    def load(cls, path: Any, custom: Iterable[type] = ()) -> Network:
        """Read a network that `save` or a `Checkpoint` wrote; runs no code from the file.

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
            If the file is missing, damaged, of a newer format, or not a model file.
        """
        return serialization.load(Network, path, custom)

    def summary(self) -> Summary:
        """The layers with their sizes, parameters and memory, as text.

        Returns
        -------
        str
            A table, which a prompt shows directly; elsewhere `print` it.

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

        Dropout is off, and `grads` is not changed.

        Parameters
        ----------
        X : array or data frame of shape (n, n_features)
            One row for each sample.
        output : int, default 0
            Index of the output: that of the class in `classes_`, or of the target, in those of the
            first member if there are several.

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
        where = "Network.input_gradients"
        values = samples.matrix(self, where, checks.array(where, "X", X))
        return layerwise.input_gradients(self, where, values, output)
