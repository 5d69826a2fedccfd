"""Callbacks of a fit: functions passed as `callbacks`, and scikit-learn's own callbacks.

In scikit-learn's protocol (experimental, from 1.9 on) a fit is a task, and each epoch or iteration
of L-BFGS is a subtask; both kinds of callbacks can end the fit.
"""

from __future__ import annotations

import copy
from typing import Any

from ..optim.averaging import Averaging

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:  # an older scikit-learn

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """A substitute without `set_callbacks` for scikit-learn versions without callbacks."""


def as_list(callbacks: Any) -> list[Any]:
    """What an estimator's `callbacks` hold: one, some or none."""
    is_one = callable(callbacks) or isinstance(callbacks, Averaging)
    return [callbacks] if is_one else list(callbacks or ())


def averaging_of(callbacks: Any) -> Averaging | None:
    """A copy of the `EMA` or `SWA` among them, if there is one: fits leave parameters alone."""
    found = [one for one in as_list(callbacks) if isinstance(one, Averaging)]
    return copy.copy(found[0]) if found else None


class Listeners:
    """All callbacks of one call of `fit` or `partial_fit`.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    context
        scikit-learn's context of this fit, or None if it has no callbacks.
    X, y, sample_weight
        The training data.
    """

    def __init__(self, estimator: Any, context: Any, X: Any, y: Any, sample_weight: Any) -> None:
        given = as_list(estimator.callbacks)
        self._functions = [one for one in given if not isinstance(one, Averaging)]
        self._estimator = estimator
        self._fit: Any = context
        self._epoch: Any = None
        if context is not None:
            self._about = {
                "estimator": estimator,
                "X": X,
                "y": y,
                "metadata": {"sample_weight": sample_weight},
                "reconstruction_attributes": self._copied_weights,
            }
            self._fit.call_on_fit_task_begin(**self._about)

    def __bool__(self) -> bool:
        return bool(self._functions) or self._fit is not None

    def _copied_weights(self) -> dict[str, Any]:
        """Copies of the weights, so that callbacks see the model as it is now."""
        e = self._estimator
        return {name: [a.copy() for a in getattr(e, name)] for name in ("coefs_", "intercepts_")}

    def epoch_begins(self) -> None:
        """To be called before each epoch."""
        if self._fit is not None:
            self._epoch = self._fit.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._about)

    def epoch_ends(self) -> bool:
        """To be called after each epoch is in `history_`; whether a callback ends the fit."""
        e = self._estimator
        wishes = [function(e, e.history_) for function in self._functions]  # each sees each epoch
        if self._epoch is not None:
            wishes.append(self._epoch.call_on_fit_task_end(**self._about))
        return any(wishes)

    def fit_ends(self) -> None:
        """To be called after the last epoch, with the model's final weights."""
        if self._fit is not None:
            self._fit.call_on_fit_task_end(**self._about)
