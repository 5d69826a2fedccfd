"""Plots of a fitted estimator with scikit-learn's interface: `from_estimator`, `plot`, `ax_`.

For decision boundaries and calibration curves, scikit-learn's own `DecisionBoundaryDisplay` and
`CalibrationDisplay` accept these estimators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _new_axes(where: str) -> Axes:
    """Axes of a new pyplot figure, as in scikit-learn's displays."""
    from ..plotting import require_matplotlib

    require_matplotlib(where)
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


class LossCurveDisplay:
    """Losses and scores by epoch.

    Parameters
    ----------
    history : dict of str to list
        An estimator's `history_`.

    Attributes
    ----------
    ax_, figure_, lines_ : matplotlib Axes, Figure and list of Line2D
        What was drawn on and with, after `plot`.

    Examples
    --------
    >>> from fastmlp import LossCurveDisplay
    >>> display = LossCurveDisplay({"loss": [0.9, 0.4]}).plot()
    >>> display.ax_.get_xlabel()
    'epoch'
    """

    def __init__(self, history: dict[str, list[float]]) -> None:
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Axes | None = None) -> LossCurveDisplay:
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            Fitted; of an ensemble one of its `members_`.
        ax : matplotlib Axes, optional
            By default those of a new figure.

        Returns
        -------
        LossCurveDisplay
            With `ax_`, `figure_` and `lines_`.
        """
        check_is_fitted(estimator)
        return cls(estimator.history_).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default those of a new figure.

        Returns
        -------
        LossCurveDisplay
            Itself.
        """
        from ..plotting import plot_history
        from ..training.history import History

        found = self.history.get
        shown = History(
            found("loss", []), found("validation_loss", []), found("validation_score", [])
        )
        self.ax_ = plot_history(shown, ax or _new_axes("LossCurveDisplay"))
        self.figure_, self.lines_ = self.ax_.figure, list(self.ax_.lines)
        return self


class WeightsDisplay:
    """The incoming weights of the units of a layer, each as an image or a strip.

    Parameters
    ----------
    weights : array of shape (n_features, n_units)
        One column for each unit.
    image_shape : (int, int), optional
        Height and width of the features if they are pixels; otherwise each unit is a strip.

    Attributes
    ----------
    ax_, figure_, im_ : matplotlib Axes, Figure and AxesImage
        What was drawn on and with, after `plot`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import WeightsDisplay
    >>> WeightsDisplay(np.eye(4), image_shape=(2, 2)).plot().im_.get_array().shape
    (5, 5)
    """

    def __init__(self, weights: np.ndarray, image_shape: tuple[int, int] | None = None) -> None:
        self.weights, self.image_shape = np.asarray(weights), image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        layer: int = 0,
        image_shape: tuple[int, int] | None = None,
        ax: Axes | None = None,
    ) -> WeightsDisplay:
        """Draw the weights of one layer of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            Fitted; of an ensemble one of its `members_`.
        layer : int, default 0
            Which of `coefs_`.
        image_shape : (int, int), optional
            As for the class.
        ax : matplotlib Axes, optional
            By default those of a new figure.

        Returns
        -------
        WeightsDisplay
            With `ax_`, `figure_` and `im_`.
        """
        check_is_fitted(estimator)
        return cls(estimator.coefs_[layer], image_shape).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> WeightsDisplay:
        """Draw the weights.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default those of a new figure.

        Returns
        -------
        WeightsDisplay
            Itself.
        """
        from ..plotting import plot_weights

        shape = self.image_shape or (1, len(self.weights))
        self.ax_ = plot_weights(self.weights, shape, ax or _new_axes("WeightsDisplay"))
        self.figure_, self.im_ = self.ax_.figure, self.ax_.images[0]
        return self
