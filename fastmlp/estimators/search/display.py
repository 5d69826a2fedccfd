"""A picture of a search: the score of each candidate against each parameter that was varied.

With successive halving, a first panel shows how the scores grew with the epochs, and candidates
that were left behind are grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ...errors import InputError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOG_FROM = 20.0  # a logarithmic axis, if the largest value is so many times the smallest
_WIDTH, _HEIGHT, _COLUMNS = 3.2, 2.8, 3  # inches of a panel, and panels side by side


class SearchDisplay:
    """Scores of a search's candidates, one panel for each parameter.

    Parameters
    ----------
    cv_results : dict of str to array
        A search's `cv_results_`.
    best_index : int
        Its `best_index_`, which gets a ring.
    score : str, default "score"
        Which score, of several.

    Attributes
    ----------
    axes_, figure_ : list of matplotlib Axes, Figure
        What was drawn on, after `plot`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier, SearchCV, SearchDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> space = {"width": [4, 16, 64], "alpha": [0.0, 0.1]}
    >>> model = MLPClassifier(max_iter=20, learning_rate="linear")
    >>> search = SearchCV(model, space, halving=True).fit(X, y)
    >>> display = SearchDisplay.from_estimator(search)
    >>> [ax.get_xlabel() for ax in display.axes_]
    ['epochs', 'alpha', 'width']
    """

    def __init__(self, cv_results: dict[str, Any], best_index: int, score: str = "score") -> None:
        self.cv_results, self.best_index, self.score = cv_results, best_index, score

    @classmethod
    def from_estimator(
        cls, search: Any, *, score: str | None = None, params: Sequence[str] | None = None,
        axes: Sequence[Axes] | None = None,
    ) -> SearchDisplay:  # fmt: skip
        """Draw what a fitted search has found.

        Parameters
        ----------
        search : SearchCV
            Fitted; scikit-learn's searches will do, too.
        score : str, optional
            Which score, of several; by default the one that decided.
        params : sequence of str, optional
            As for `plot`.
        axes : sequence of matplotlib Axes, optional
            As for `plot`.

        Returns
        -------
        SearchDisplay
            With `axes_` and `figure_`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            If several scores were computed and no single one decided; and as `plot` does.
        """
        check_is_fitted(search, "best_index_")
        if score is None:
            score = search.refit if search.multimetric_ else "score"
        if not isinstance(score, str):
            raise InputError(
                "SearchDisplay", "the name of a score", f"refit={search.refit!r}", "pass score=..."
            )
        return cls(search.cv_results_, search.best_index_, score).plot(params=params, axes=axes)

    def plot(
        self, *, params: Sequence[str] | None = None, axes: Sequence[Axes] | None = None
    ) -> SearchDisplay:
        """Draw the panels.

        Parameters
        ----------
        params : sequence of str, optional
            Which parameters; by default all that have more than one value.
        axes : sequence of matplotlib Axes, optional
            One for each panel; by default those of a new figure.

        Returns
        -------
        SearchDisplay
            Itself.

        Raises
        ------
        InputError
            For a parameter or score that the search does not have, and too few axes.
        """
        names = (self._varied() or self._names()) if params is None else list(params)
        key = f"mean_test_{self.score}"
        for name in (key, *(f"param_{name}" for name in names)):
            if name not in self.cv_results:
                advice = did_you_mean(name, self.cv_results, "see its cv_results")
                raise InputError("SearchDisplay.plot", "what the search has", f"{name!r}", advice)
        halves = "iter" in self.cv_results
        self.axes_ = self._axes(axes, len(names) + halves)
        self.figure_ = self.axes_[0].figure
        means = np.asarray(self.cv_results[key], dtype=float)
        if halves:
            self._draw_rounds(self.axes_[0], means)
        for ax, name in zip(self.axes_[halves:], names, strict=True):
            self._draw_parameter(ax, name, means)
        for ax in self.axes_:
            ax.set_ylabel(self.score if self.score == "score" else self.score.replace("_", " "))
        return self

    def _varied(self) -> list[str]:
        """Names of the parameters that have more than one value."""
        columns = {name: self.cv_results[f"param_{name}"] for name in self._names()}
        return [
            name
            for name, column in columns.items()
            if len(set(map(str, np.ma.compressed(column)))) > 1 or np.ma.getmaskarray(column).any()
        ]

    def _names(self) -> list[str]:
        return sorted({name for one in self.cv_results["params"] for name in one})

    def _axes(self, axes: Sequence[Axes] | None, n: int) -> list[Axes]:
        if axes is not None:
            found: list[Axes] = np.ravel(np.asarray(axes, dtype=object)).tolist()
            if len(found) < max(n, 1):
                raise InputError(
                    "SearchDisplay.plot", f"{n} axes, one for each panel", f"{len(found)}",
                    "pass more axes, or fewer params",
                )  # fmt: skip
            return found[:n]
        from ...plotting import require_matplotlib

        require_matplotlib("SearchDisplay")
        from matplotlib import pyplot

        columns = min(_COLUMNS, max(n, 1))
        rows = -(-max(n, 1) // columns)
        figure, grid = pyplot.subplots(
            rows, columns, figsize=(_WIDTH * columns, _HEIGHT * rows), layout="constrained",
            squeeze=False,
        )  # fmt: skip
        panels = list(grid.ravel())
        for spare in panels[n:]:
            figure.delaxes(spare)
        return panels[:n]

    def _draw_rounds(self, ax: Axes, means: np.ndarray) -> None:
        """The scores of each candidate by epochs."""
        epochs = np.asarray(self.cv_results["n_resources"])
        for rows in self._rows_of_candidates():
            is_best = self.best_index in rows
            color, width, front = ("C1", 2.0, 3) if is_best else ("C0", 0.8, 2)
            ax.plot(
                epochs[rows], means[rows], "o-", color=color, ms=3, lw=width, zorder=front,
                alpha=1.0 if is_best else 0.4,
            )  # fmt: skip
        ax.set(xlabel="epochs", xscale="log")
        ticks = np.unique(epochs)
        ax.set_xticks(ticks, list(map(str, ticks)))
        ax.minorticks_off()

    def _draw_parameter(self, ax: Axes, name: str, means: np.ndarray) -> None:
        """A point for each candidate's last round; names and other objects get a place each."""
        column = self.cv_results[f"param_{name}"]
        values, is_missing = np.ma.getdata(column), np.ma.getmaskarray(column)
        last = [rows_of_one[-1] for rows_of_one in self._rows_of_candidates()]
        rows = [row for row in last if not is_missing[row]]
        chosen = [values[row] for row in rows]
        if all(isinstance(one, Real) and not isinstance(one, bool) for one in chosen):
            x = np.array(chosen, dtype=float)
            if x.size and x.min() > 0 and x.max() > _LOG_FROM * x.min():
                ax.set_xscale("log")
                ax.tick_params(axis="x", which="minor", labelbottom=False)
        else:
            labels = _in_order(chosen)
            x = np.array([labels.index(str(one)) for one in chosen], dtype=float)
            ax.set_xticks(range(len(labels)), labels, rotation=30 if len(labels) > 2 else 0)
        left = self._left_in_the_end()[rows]
        ax.plot(x[~left], means[rows][~left], "o", color="0.6", ms=3, alpha=0.6)
        ax.plot(x[left], means[rows][left], "o", color="C0", ms=4.5, alpha=0.7)
        if self.best_index in rows:
            best = rows.index(self.best_index)
            ax.plot(x[best], means[self.best_index], "o", ms=11, mfc="none", mec="C1", mew=2)
        ax.set_xlabel(name.rpartition("__")[2])

    def _left_in_the_end(self) -> np.ndarray:
        """Which rows are of the last round."""
        rounds = self.cv_results.get("iter", np.zeros(len(self.cv_results["params"])))
        return np.asarray(np.asarray(rounds) == np.max(rounds))

    def _rows_of_candidates(self) -> list[list[int]]:
        """The rows of each candidate: with halving one for each of its rounds."""
        found = dict[str, list[int]]()
        for row, one in enumerate(self.cv_results["params"]):
            name = repr(sorted(one.items(), key=str)) if "iter" in self.cv_results else str(row)
            found.setdefault(name, []).append(row)
        return list(found.values())


def _in_order(values: Sequence[Any]) -> list[str]:
    """The different values as text, in their order if they have one."""
    by_text = {str(one): one for one in values}
    try:
        return sorted(by_text, key=by_text.__getitem__)
    except TypeError:
        return sorted(by_text)
