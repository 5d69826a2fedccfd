"""`SearchCV`: searches parameters by cross-validation, side by side in threads.

Results have scikit-learn's form and numbers. Successive halving trains all candidates for a few
epochs and goes on with the best of them.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics import get_scorer_names
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import ParameterGrid, ParameterSampler, check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_method_params, indexable

from ...errors import InputError
from ...registry import checked_keywords
from .trials import Candidate, Data, Trials, candidate, last_step

_WHERE = "SearchCV.fit"
# Attributes that a search with other options may have left.
_OF_OTHER_SEARCHES = ("n_iterations_", "n_candidates_", "n_resources_", "best_score_",
                      "best_estimator_", "refit_time_")  # fmt: skip
_FACTOR = 3  # of halving=True: the share of the candidates that goes on


@checked_keywords
class SearchCV(BaseSearchCV):
    """Search parameters of an MLPClassifier or MLPRegressor by cross-validation.

    Candidates are trained side by side in threads, so no processes have to start, and a pipeline's
    transformers are fitted once per fold for all candidates that share their parameters. A
    candidate's scores are those of `RandomizedSearchCV`.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline that ends with one
        It is cloned, not changed.
    param_distributions : dict or list of dict
        For each parameter a list of values or a scipy distribution; see `search_space`. Of a list
        of dicts, each candidate uses one.
    n_candidates : int, default 60
        The number of candidates that are drawn. If there are only lists, and not as many
        combinations, all combinations are tried.
    cv : int, splitter or iterable, default 5
        The number of folds, or as in scikit-learn.
    scoring : str, callable, list, tuple or dict, default None
        As in scikit-learn; by default the estimator's `score`.
    halving : bool or int, default False
        Whether to train candidates for a few epochs and to go on with the best third only, round by
        round, until the last are trained for all of their `max_iter` epochs. An integer goes on
        with one in so many. A round continues where the last one paused, so that a candidate that
        reaches the end is trained just as without halving. Solvers without epochs ("lbfgs") begin
        each round anew.
    refit : bool, str or callable, default True
        Whether to train the best candidate on all rows; with several scores the name of the one
        that decides, or as in scikit-learn a function of `cv_results_`.
    random_state : int, RandomState or None, default None
        Seed of the candidates; the same as in `RandomizedSearchCV` draws the same.
    n_jobs : int, default None
        How many candidates are trained at once; by default one per core. Within
        `joblib.parallel_config` another backend is used.
    error_score : "raise" or number, default nan
        The score of a fit that fails, with a warning.
    return_train_score : bool, default False
        Whether to score the rows trained on, too.
    progress : bool, default False
        Whether to show a progress bar.

    Attributes
    ----------
    cv_results_ : dict of str to array
        As in scikit-learn. With halving a candidate has a row for each of its rounds: "iter" is the
        number of the round and "n_resources" that of the epochs.
    best_estimator_ : estimator
        Trained on all rows with the best parameters.
    best_params_, best_score_, best_index_ : dict, float, int
        The best candidate, with halving of the last round: its parameters, its mean score, and its
        place in `cv_results_`.
    n_splits_, scorer_, multimetric_, refit_time_, classes_, n_features_in_, feature_names_in_
        As in scikit-learn.
    n_iterations_, n_candidates_, n_resources_ : int, list of int, list of int
        With halving: the number of rounds, and the candidates and epochs of each.

    See Also
    --------
    search_space : Ranges of the parameters that matter.
    SearchDisplay : Draws what a search has found.

    References
    ----------
    Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", AISTATS 2016 (successive halving).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier, SearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(max_iter=90, learning_rate="cosine", random_state=0)
    >>> space = {"learning_rate_init": [0.001, 0.003, 0.01], "width": [16, 32, 64]}
    >>> search = SearchCV(model, space, cv=3, halving=True).fit(X, y)
    >>> search.n_candidates_, search.n_resources_
    ([9, 3, 1], [10, 30, 90])
    >>> bool(search.best_score_ > 0.9)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit"])],
        "param_distributions": [dict, list],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, list, tuple, dict, None],
        "halving": ["boolean", Interval(Integral, 2, None, closed="left")],
        "refit": ["boolean", str, callable],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "error_score": [StrOptions({"raise"}), Real],
        "return_train_score": ["boolean"],
        "progress": ["boolean"],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        n_candidates: int = 60,
        cv: Any = 5,
        scoring: Any = None,
        halving: bool | int = False,
        refit: Any = True,
        random_state: Any = None,
        *,
        n_jobs: int | None = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        progress: bool = False,
    ) -> None:
        super().__init__(
            estimator, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv,
            error_score=error_score, return_train_score=return_train_score,
        )  # fmt: skip
        self.param_distributions = param_distributions
        self.n_candidates = n_candidates
        self.halving = halving
        self.random_state = random_state
        self.progress = progress

    # ------------------------------------------------------------------ fitting

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> SearchCV:
        """Try all candidates, and train the best on all rows.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            One row for each sample.
        y : array of shape (n,) or (n, n_outputs), default None
            As for the estimator, which needs it.
        **params : dict of str to object
            As in scikit-learn: metadata for the estimator, the scorer and the splitter, such as
            `sample_weight` and `groups`.

        Returns
        -------
        SearchCV
            Itself.

        Raises
        ------
        InputError
            For estimators of other kinds, callbacks set on the search instead of the estimator, and
            halving without a single score to go by.
        ValueError
            As in scikit-learn.
        """
        last_step(self.estimator)
        scorers, metric = self._get_scorers()
        self._check(metric)
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(_check_method_params(X, params=params))
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, **routed.splitter.split))
        options = {
            "scorer": scorers, "fit_params": routed.estimator.fit, "error_score": self.error_score,
            "score_params": routed.scorer.score, "return_train_score": self.return_train_score,
        }  # fmt: skip
        data, drawn = Data(self.estimator, X, y, splits, options), self._drawn()
        for name, found in (("split in cv", splits), ("candidate", drawn)):
            if not found:
                raise InputError(_WHERE, f"at least one {name}", "none", "pass some")
        candidates = [candidate(data, params) for params in drawn]
        for name in _OF_OTHER_SEARCHES:
            self.__dict__.pop(name, None)
        rounds, several = self._rounds(candidates), isinstance(scorers, _MultimetricScorer)
        self.n_splits_ = len(splits)
        self.scorer_ = vars(scorers)["_scorers"] if several else scorers
        with self._bar(sum(n for n, _ in rounds) * len(splits)) as bar:
            self._search(candidates, rounds, Trials(data, self.n_jobs, bar), metric)
        if self.refit:
            self._refit(X, y, routed.estimator.fit)
        return self

    def _check(self, metric: Any) -> None:
        """Refuse what would be ignored."""
        if hasattr(self, "_skl_callbacks"):
            raise InputError(
                _WHERE, "callbacks of the estimator", "some of the search",
                "call set_callbacks on the estimator, and pass progress=True here",
            )  # fmt: skip
        if self.halving and not (isinstance(metric, str) and not callable(self.refit)):
            raise InputError(
                _WHERE, "a score to go by for halving", f"refit={self.refit!r}",
                "pass the name of one of the scores as refit",
            )  # fmt: skip

    def _drawn(self) -> list[dict[str, Any]]:
        """The parameters of all candidates."""
        given, most = self.param_distributions, self.n_candidates
        spaces = [given] if isinstance(given, Mapping) else given
        if not any(hasattr(values, "rvs") for space in spaces for values in space.values()):
            most = min(most, len(ParameterGrid(given)))
        return list(ParameterSampler(given, most, random_state=self.random_state))

    def _rounds(self, candidates: Sequence[Candidate]) -> list[tuple[int, int | None]]:
        """How many candidates each round has, and to which epoch it trains them (None: to the end).

        The last has at least one candidate, and less than the factor of halving if there are
        epochs enough; the first has at least one epoch.
        """
        n, most = len(candidates), max(one.max_iter for one in candidates)
        if not self.halving:
            return [(n, None)]
        factor = _FACTOR if self.halving is True else int(self.halving)
        rounds = [(n, most)]
        while rounds[0][1] > 1 and rounds[-1][0] > 1 and n >= factor ** len(rounds):
            shares = factor ** np.arange(len(rounds) + 1)
            rounds = [
                (int(np.ceil(n / share)), max(1, int(np.ceil(most / part))))
                for share, part in zip(shares, shares[::-1], strict=True)
            ]
        self.n_iterations_ = len(rounds)
        self.n_candidates_, self.n_resources_ = map(list, zip(*rounds, strict=True))
        return [*rounds]

    def _bar(self, n_trials: int) -> Any:
        """A progress bar, or what does nothing instead."""
        if not self.progress:
            return contextlib.nullcontext()
        from tqdm import tqdm

        return tqdm(total=n_trials, unit="fit", dynamic_ncols=True)

    def _search(
        self,
        candidates: list[Candidate],
        rounds: list[tuple[int, int | None]],
        trials: Trials,
        metric: Any,
    ) -> None:
        """Run all rounds, and set the attributes that say what they found."""
        params, outcomes, more = [], [], defaultdict[str, list[int]](list)
        results: dict[str, Any] = {}
        for number, (n, until) in enumerate(rounds):
            if results:
                before = candidates
                candidates = _best(candidates, n, results[f"mean_test_{metric}"])
                for one in before:
                    if one not in candidates:
                        one.pauses.clear()  # they are as large as the networks
            found = trials.run(candidates, until)
            _warn_or_raise_about_fit_failures(found, self.error_score)
            if callable(self.scoring):
                _insert_error_scores(found, self.error_score)
                metric = self._metric_of_callable(found[0]["test_scores"])
            params += [one.params for one in candidates]
            outcomes += found
            if until is not None:
                more["iter"] += n * [number]
                more["n_resources"] += [min(until, one.max_iter) for one in candidates]
            results = self._format_results(params, self.n_splits_, outcomes, more)
        self.cv_results_ = results
        self.multimetric_ = isinstance(outcomes[0]["test_scores"], dict)
        if self.refit or not self.multimetric_:
            self._choose(results, metric)

    def _metric_of_callable(self, scores: Any) -> Any:
        """The name of the score that decides; only the results of a callable tell what it has."""
        if not isinstance(scores, dict):
            return "score"
        self._check_refit_for_multimetric(scores)
        self._check(self.refit)
        return self.refit

    def _choose(self, results: dict[str, Any], metric: Any) -> None:
        """Set the best candidate, which with halving is one of the last round."""
        if self.halving:
            means = results[f"mean_test_{metric}"]
            last = np.flatnonzero(results["iter"] == self.n_iterations_ - 1)
            self.best_index_ = int(last[np.argmax(np.nan_to_num(means[last], nan=-np.inf))])
        else:
            self.best_index_ = self._select_best_index(self.refit, metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]

    def _refit(self, X: Any, y: Any, fit_params: dict[str, Any]) -> None:
        started = time.perf_counter()
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        self.best_estimator_ = best.fit(X, y, **fit_params)
        self.refit_time_ = time.perf_counter() - started
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_


def _best(candidates: list[Candidate], n: int, means: np.ndarray) -> list[Candidate]:
    """The n candidates with the highest scores of the last round, in their old order."""
    last = np.nan_to_num(means[-len(candidates) :], nan=-np.inf)
    chosen = np.sort(np.argsort(-last, kind="stable")[:n])
    return [candidates[number] for number in chosen]
