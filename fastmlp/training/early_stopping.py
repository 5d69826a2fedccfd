"""Early stopping in `Network.fit`: ends a fit that no longer improves, and keeps the best epoch.

The decision is made within the compiled call or, if something else runs in Python after each epoch,
in Python; both give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine.judging import Judge, Rule
from ..errors import InputError, InputTypeError, did_you_mean
from ..inputs import checks
from ..kernels.compiler.memory import aligned_copy
from ..model.body import Body
from ..registry import checked_keywords

_TIES = ("first", "last")
_MONITORED = ("validation_score", "validation_loss")
# What other libraries call them.
_MEANT = {
    **dict.fromkeys(("score", "val_score", "val_accuracy", "val_acc"), "validation_score"),
    **dict.fromkeys(("loss", "val_loss"), "validation_loss"),
}


@checked_keywords
@dataclass
class EarlyStopping:
    """Ends a fit once held-out samples stop getting better; pass it among the `callbacks`.

    `Network.fit` needs `validation_data` then. With a `Checkpoint` beside it, a fit that is resumed
    stops where the uninterrupted one would, with the same parameters.

    Parameters
    ----------
    patience : int or None, default 10
        After how many epochs in a row without a better one the fit ends; with None it does not end
        early, so only the best epoch is looked for.
    tolerance : float, default 0.0
        An epoch counts as better if it exceeds the best so far by more than this.
    monitor : {"validation_score", "validation_loss"}, default "validation_score"
        What is compared: the score, which should grow, or the loss, which should fall.
    restore_best : bool, default True
        Whether the network ends with the parameters of the best epoch, however the fit ends short
        of an error.
    ties : {"first", "last"}, default "first"
        Which of several equally good epochs is the best. Either way they are none that the patience
        has waited for.

    Attributes
    ----------
    best_epoch : int
        The best epoch of the last fit, counted from 1; 0 if none had a number for a value.
    best_value : float
        Its score or loss.
    n_stale : int
        How many epochs came after it.

    Raises
    ------
    InputError
        For numbers out of range and names that are none, and at `fit` where no `validation_data`
        are given.

    References
    ----------
    Prechelt, "Early stopping - but when?", in Neural Networks: Tricks of the Trade, Springer, 1998.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense, EarlyStopping, Network, ReLU
    >>> X = np.random.default_rng(0).normal(size=(90, 2))
    >>> y = (X.prod(axis=1) > 0).astype(int)
    >>> network = Network([Dense(16), ReLU(), Dense(2)])
    >>> held_out, stopping = (X[60:], y[60:]), EarlyStopping(patience=5)
    >>> history = network.fit(
    ...     X[:60], y[:60], epochs=500, validation_data=held_out, callbacks=[stopping]
    ... )
    >>> history.stopped, history.epochs - stopping.best_epoch
    ('early_stopping', 5)
    >>> network.score(*held_out) == max(history.validation_score)
    True
    """

    patience: int | None = 10
    tolerance: float = 0.0
    monitor: str = "validation_score"
    restore_best: bool = True
    ties: str = "first"
    best_epoch: int = field(default=0, init=False, repr=False)
    n_stale: int = field(default=0, init=False, repr=False)
    _best: float = field(default=-np.inf, init=False, repr=False)  # the larger the better
    _params: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.patience is not None:
            checks.whole_number("EarlyStopping", "patience", self.patience, 1)
        checks.number("EarlyStopping", "tolerance", self.tolerance, 0)
        if self.monitor not in _MONITORED:
            name = str(self.monitor)
            raise InputError(
                "EarlyStopping", f"monitor to be one of {', '.join(_MONITORED)}",
                repr(self.monitor),
                did_you_mean(_MEANT.get(name, name), _MONITORED, "choose one"),
            )  # fmt: skip
        if self.ties not in _TIES:
            raise InputError(
                "EarlyStopping", f"ties to be one of {', '.join(_TIES)}", repr(self.ties),
                "choose one",
            )  # fmt: skip
        if not isinstance(self.restore_best, bool | np.bool_):
            raise InputTypeError(
                "EarlyStopping", "restore_best to be True or False",
                type(self.restore_best).__name__, "choose one",
            )  # fmt: skip

    @property
    def best_value(self) -> float:
        """Score or loss of the best epoch."""
        return -self._best if self.rule.by_loss else self._best

    @property
    def rule(self) -> Rule:
        """How epochs are compared."""
        most = -1 if self.patience is None else min(self.patience - 1, np.iinfo(np.int32).max)
        by_loss, keeps_last = self.monitor == "validation_loss", self.ties == "last"
        return Rule(most, self.tolerance, by_loss, strict=True, keeps_last=keeps_last)

    @property
    def is_over(self) -> bool:
        """Whether the patience is worn out."""
        return self.patience is not None and self.n_stale >= self.patience

    def begin(self, body: Body) -> np.ndarray | None:
        """What a fit calls when it begins: forget the fit before.

        Parameters
        ----------
        body : Network
            Built.

        Returns
        -------
        ndarray of shape (n_params,) or None
            Where the parameters of the best epoch go, if they are wanted.
        """
        self.best_epoch, self.n_stale, self._best = 0, 0, -np.inf
        self._params = aligned_copy(body.learned) if self.restore_best else None
        return self._params

    def look(self, body: Body, epoch: int, loss: float, score: float) -> None:
        """Compare an epoch with the best so far.

        Parameters
        ----------
        body : Network
            As it was judged.
        epoch : int
            Counted from 1.
        loss, score : float
            On the validation data.
        """
        is_best, is_stale = self.rule.compare(loss, score, self._best)
        if is_best:
            self._best, self.best_epoch = self.rule.value(loss, score), epoch
            if self._params is not None:
                self._params[...] = body.learned
        self.n_stale = self.n_stale + 1 if is_stale else 0

    def tell(self, judge: Judge) -> None:
        """Let the next call of compiled code go on from here.

        Parameters
        ----------
        judge : Judge
            Which decides within that call.
        """
        judge.begin(self._best, self.n_stale)

    def hear(self, judge: Judge, epochs_before: int) -> None:
        """Take over what was decided within a call of compiled code.

        Parameters
        ----------
        judge : Judge
            Which wrote the best parameters where `begin` said.
        epochs_before : int
            How many epochs the fit had before that call.
        """
        self._best, self.n_stale = judge.best_value, judge.n_stale
        if judge.best_epoch:
            self.best_epoch = epochs_before + judge.best_epoch

    def restore(self, body: Body) -> bool:
        """Give a network the parameters of the best epoch, if they are wanted and there is one.

        Parameters
        ----------
        body : Network
            That was trained.

        Returns
        -------
        bool
            Whether it has them now.
        """
        if self._params is None or not self.best_epoch:
            return False
        body.learned[...] = self._params
        return True

    def remembered(self, body: Body) -> tuple[dict[str, Any], np.ndarray]:
        """All that a fit needs to go on, for a checkpoint.

        Parameters
        ----------
        body : Network
            That is trained.

        Returns
        -------
        values : dict
            Plain numbers.
        params : ndarray of shape (n_params,) or (0,)
            Of the best epoch.
        """
        best = self._best if self.best_epoch else None
        values = {"best": best, "best_epoch": self.best_epoch, "n_stale": self.n_stale}
        kept = self._params if self._params is not None else np.empty(0, body.dtype)
        return values, kept

    def recall(self, values: dict[str, Any], params: np.ndarray) -> None:
        """Go on from what a checkpoint has.

        Parameters
        ----------
        values : dict
            As `remembered` gave it.
        params : ndarray of shape (n_params,) or (0,)
            Of the best epoch.
        """
        if self._params is not None:
            if params.size != self._params.size:  # nobody wanted them then: begin anew
                return
            self._params[...] = params
        self.best_epoch, self.n_stale = values["best_epoch"], values["n_stale"]
        self._best = -np.inf if values["best"] is None else values["best"]
