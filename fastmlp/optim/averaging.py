"""Averaged weights: the mean over many steps often predicts better than the last step's weights.

The average is a separate vector that is moved after every step, within the compiled call. A class
here only defines how far it moves at each step; docs/extending/averaging.md shows how to add one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..inputs import checks
from ..kernels.compiler.memory import address_of, aligned_copy
from ..kernels.rules import averages
from ..model.body import Body
from ..registry import checked_keywords


class Averaging:
    """Base class for averaging weights; a fit takes one such object in its `callbacks`.

    To write your own, derive a dataclass with the fields `start` and `apply`, and define `weights`.
    It runs in the compiled loop like the built-in ones.

    Attributes
    ----------
    start : float
        When averaging begins: after this many epochs (an integer), or after this share of all
        epochs (a float below 1). Until then the average equals the network's parameters.
    apply : bool
        Whether the network ends with the averaged parameters. If so, validation, early stopping
        and the best checkpoint use the average; otherwise they use the network's own parameters,
        and `averaged` swaps the average in temporarily.

    Raises
    ------
    InputError
        For an invalid `start`; in `fit`, for a start after the last epoch and for weights that are
        not numbers from 0 to 1.

    Notes
    -----
    After step t the average a of all parameters p moves by a <- a + w_t (p - a). Buffers (the
    running mean and variance of a `BatchNorm`) are averaged like parameters. Callbacks that are
    functions see the network's own parameters.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from fastmlp import Averaging, Dense, Network
    >>> @dataclass
    ... class Halves(Averaging):
    ...     start: float = 0
    ...     apply: bool = True
    ...     def weights(self, steps, steps_per_epoch):
    ...         return np.full(len(steps), 0.5)
    >>> averaging, network = Halves(), Network([Dense(2)])
    >>> history = network.fit(np.eye(4), [0, 1, 0, 1], epochs=3, callbacks=[averaging])
    >>> bool((network.params == averaging.params).all())
    True
    """

    start: float = 0
    apply: bool = True
    _learned: np.ndarray | None = None
    _n_params: int = 0
    _first_step: int = 0
    _steps_per_epoch: int = 1

    def __post_init__(self) -> None:
        name = type(self).__name__
        is_whole = isinstance(self.start, int | np.integer) and not isinstance(self.start, bool)
        if not is_whole and not (isinstance(self.start, float) and 0 <= self.start < 1):
            raise InputError(
                name, "start as a number of epochs, or a float from 0 up to 1 as a share of them",
                f"{self.start!r}", "write start=5 or start=0.5",
            )  # fmt: skip
        if is_whole:
            checks.whole_number(name, "start", self.start, 0)
        if not isinstance(self.apply, bool | np.bool_):
            raise InputTypeError(
                name, "apply to be True or False", type(self.apply).__name__, "choose one"
            )

    def weights(self, steps: np.ndarray, steps_per_epoch: int) -> np.ndarray:
        """How far the average moves towards the parameters at each step.

        Parameters
        ----------
        steps : ndarray of shape (n,)
            Step numbers, counted from 0 at the start of averaging.
        steps_per_epoch : int
            Number of steps per epoch.

        Returns
        -------
        ndarray of shape (n,)
            Numbers from 0 (the average does not move) to 1 (it becomes equal to the parameters).
        """
        raise NotImplementedError

    @property
    def learned(self) -> np.ndarray:
        """Averaged parameters and buffers (n_params + n_buffers,), as `Network.learned`."""
        return self._held("learned")

    @property
    def params(self) -> np.ndarray:
        """The averaged parameters (n_params,), in the order of `Network.params`."""
        return self._held("params")[: self._n_params]

    @contextlib.contextmanager
    def averaged(self, network: Body) -> Iterator[Body]:
        """Context manager: within the block, a network has the averaged parameters and buffers.

        Parameters
        ----------
        network : Network
            The trained one, or one of the same sizes. Its own parameters return after the block.

        Yields
        ------
        Network
            The same.

        Raises
        ------
        InputError
            Before a fit, and for a network of other sizes.
        """
        where, held = f"{type(self).__name__}.averaged", self._held("averaged")
        if held.size != network.learned.size:
            raise InputError(
                where, f"a network of {counted(self._n_params, 'parameter')}",
                f"{network.params.size}", "pass the one that was trained",
            )  # fmt: skip
        own = network.learned.copy()
        network.learned[...] = held
        try:
            yield network
        finally:
            network.learned[...] = own

    def _held(self, name: str) -> np.ndarray:
        if self._learned is None:
            raise InputError(
                f"{type(self).__name__}.{name}", "weights that were averaged", "none",
                "pass it to Network.fit first, callbacks=[...]",
            )  # fmt: skip
        return self._learned

    # ------------------------------------------------------------------ what a fit calls

    def plan(self, where: str, n_epochs: int, steps_per_epoch: int) -> None:
        """Set the step at which averaging starts, and refuse settings that average nothing.

        Parameters
        ----------
        where : str
            The caller, for errors.
        n_epochs, steps_per_epoch : int
            Of the whole fit.

        Raises
        ------
        InputError
            For a start after all epochs, and where no step's parameters would be averaged.
        """
        epochs = self.start
        if isinstance(epochs, float):
            epochs = int(round(epochs * n_epochs, 9))  # 0.29 of 100 is a little less than 29
        if epochs >= n_epochs:
            raise InputError(
                where, f"{type(self).__name__} to start before the last of {n_epochs} epochs",
                f"start={self.start}", "let it start sooner",
            )  # fmt: skip
        self._first_step, self._steps_per_epoch = int(epochs) * steps_per_epoch, steps_per_epoch

    def begin(self, body: Body) -> np.ndarray:
        """Start a new average, equal to the network's current parameters.

        Parameters
        ----------
        body : Network
            Built.

        Returns
        -------
        ndarray of shape (n_params + n_buffers,)
            The average, which the steps of a fit move.
        """
        self._learned, self._n_params = aligned_copy(body.learned), body.params.size
        return self._learned

    def numbers(self, steps: np.ndarray) -> np.ndarray:
        """The weight of each step of a fit.

        Parameters
        ----------
        steps : ndarray of shape (n,)
            Step numbers, counted from 0 at the beginning of the fit.

        Returns
        -------
        ndarray of shape (n, 1)
            A column for the table of hyperparameters per step.

        Raises
        ------
        InputError
            If a user-defined `weights` does not return one number from 0 to 1 per step.
        """
        since = steps - self._first_step
        found, later = np.ones(len(steps)), since >= 0
        weights = np.asarray(self.weights(since[later], self._steps_per_epoch))
        if weights.shape != (later.sum(),) or not ((weights >= 0) & (weights <= 1)).all():
            raise InputError(
                f"{type(self).__name__}.weights",
                "numbers from 0 to 1, one for each step, in an array",
                f"shape {weights.shape}" if weights.shape != (later.sum(),) else "others",
                "return one for each of steps",
            )  # fmt: skip
        found[later] = weights
        return found.reshape(-1, 1)

    def move(self, body: Body, weight: float) -> None:
        """Move the average after a step that ran layer by layer, as compiled code does.

        Parameters
        ----------
        body : Network
            With the parameters after the step.
        weight : float
            The step's weight.
        """
        held, size, dtype = self._held("move"), body.learned.size, body.dtype
        averages.move(
            address_of(held, "averaged weights", dtype, size, written=True),
            address_of(body.learned, "parameters and buffers", dtype, size), size, weight,
            dtype.type(1),
        )  # fmt: skip

    def judged(self, body: Body) -> contextlib.AbstractContextManager[Any]:
        """Context manager: within the block, the network has the parameters to be validated.

        Parameters
        ----------
        body : Network
            The network in training.

        Returns
        -------
        context manager
            For a `with` statement.
        """
        return self.averaged(body) if self.apply else contextlib.nullcontext()

    def finish(self, body: Body, is_restored: bool) -> None:
        """At the end of a fit, copy the average into the network if `apply` is set.

        Parameters
        ----------
        body : Network
            The trained network.
        is_restored : bool
            Whether early stopping has restored the parameters of the best epoch.
        """
        held = self._held("finish")
        if self.apply and is_restored:  # those parameters are an average already
            held[...] = body.learned
        elif self.apply:
            body.learned[...] = held


@checked_keywords
@dataclass
class EMA(Averaging):
    """Exponential moving average of the weights; pass it in `callbacks`.

    Parameters
    ----------
    decay : float in [0, 1), default 0.999
        Share of the average that each step keeps; it covers about 1 / (1 - decay) steps.
    start : float, default 0
        When averaging begins: after this many epochs (an integer), or after this share of all
        epochs (a float below 1). Until then the average equals the network's parameters.
    debias : bool, default True
        Whether to remove the influence of the initial parameters, which otherwise have weight
        decay^t after t steps. The average is then the weighted mean of the parameters after each
        step.
    apply : bool, default True
        Whether the network ends with the averaged parameters, and validation and early stopping
        use them. Otherwise `averaged` swaps them in temporarily.

    Raises
    ------
    InputError
        For numbers out of range; in `fit`, for a start after the last epoch.

    Notes
    -----
    After step t (from 1) the average a of all parameters p moves by a <- a + w (p - a), with
    w = (1 - decay) / (1 - decay^t), or w = 1 - decay without `debias`. Running statistics of a
    `BatchNorm` are averaged, too. With a `Checkpoint` the average is in its files, so a fit goes on
    with the same bits.

    References
    ----------
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on
    Control and Optimization 30, 1992. The correction is that of Kingma and Ba, "Adam: A method for
    stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import EMA, Dense, Network, ReLU
    >>> X = np.random.default_rng(0).normal(size=(90, 2))
    >>> y = (X.prod(axis=1) > 0).astype(int)
    >>> network, ema = Network([Dense(16), ReLU(), Dense(2)]), EMA(0.99, apply=False)
    >>> history = network.fit(X, y, epochs=100, callbacks=[ema])
    >>> last = network.params.copy()
    >>> with ema.averaged(network):
    ...     bool((network.params == ema.params).all()), bool((network.params == last).all())
    (True, False)
    >>> bool((network.params == last).all())
    True
    """

    decay: float = 0.999
    start: float = 0
    debias: bool = True
    apply: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("EMA", "decay", self.decay, 0, 1, high_open=True)
        if not isinstance(self.debias, bool | np.bool_):
            raise InputTypeError(
                "EMA", "debias to be True or False", type(self.debias).__name__, "choose one"
            )

    def weights(self, steps: np.ndarray, steps_per_epoch: int) -> np.ndarray:
        if not self.debias:
            return np.full(len(steps), 1.0 - self.decay)
        return (1.0 - self.decay) / (1.0 - self.decay ** (steps + 1.0))


@checked_keywords
@dataclass
class SWA(Averaging):
    """Stochastic weight averaging: the equal mean of the weights from some epoch on.

    Pass it in `callbacks`. With a high learning rate towards the end, steps wander around a flat
    region of the loss, and the mean lies near its middle.

    Parameters
    ----------
    start : float, default 0.75
        When averaging begins: after this many epochs (an integer), or after this share of all
        epochs (a float below 1). Until then the average equals the network's parameters.
    every : int, optional
        The parameters after every so many steps are averaged; by default once per epoch. With 1,
        every step counts.
    apply : bool, default True
        Whether the network ends with the averaged parameters, and validation and early stopping
        use them. Otherwise `averaged` swaps them in temporarily.

    Raises
    ------
    InputError
        For numbers out of range; in `fit`, if nothing would be averaged before its end.

    Notes
    -----
    At the n-th of the chosen steps the average a of all parameters p moves by a <- a + (p - a) / n,
    so it is their equal mean. Running statistics of a `BatchNorm` are averaged, too; the paper
    computes them anew from the training data.

    References
    ----------
    Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, "Averaging weights leads to wider optima and
    better generalization", UAI 2018. With every=1 it is the mean of Polyak and Juditsky,
    "Acceleration of stochastic approximation by averaging", SIAM Journal on Control and
    Optimization 30, 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import SGD, SWA, Dense, Network, ReLU
    >>> X = np.random.default_rng(0).normal(size=(90, 2))
    >>> y = (X.prod(axis=1) > 0).astype(int)
    >>> network = Network([Dense(16), ReLU(), Dense(2)])
    >>> history = network.fit(
    ...     X, y, optimizer=SGD(0.3), epochs=100, validation_data=(X, y), callbacks=[SWA(0.5)]
    ... )
    >>> network.score(X, y) == history.validation_score[-1]
    True
    """

    start: float = 0.75
    every: int | None = None
    apply: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every is not None:
            checks.whole_number("SWA", "every", self.every, 1)

    def plan(self, where: str, n_epochs: int, steps_per_epoch: int) -> None:
        super().plan(where, n_epochs, steps_per_epoch)
        left = n_epochs * steps_per_epoch - self._first_step
        if (self.every or 1) > left:
            raise InputError(
                where, f"SWA every {left} steps or fewer, which are all from its start on",
                f"every={self.every}", "make it smaller, or let it start sooner",
            )  # fmt: skip

    def weights(self, steps: np.ndarray, steps_per_epoch: int) -> np.ndarray:
        n_averaged, since = np.divmod(steps + 1, self.every or steps_per_epoch)
        weights = np.where(n_averaged == 0, 1.0, 0.0)  # nothing yet: the network as it is
        chosen = since == 0
        weights[chosen] = 1.0 / n_averaged[chosen]
        return weights
