"""An estimator and scikit-learn's class of the same name, told the same in a drawn sequence.

Where scikit-learn's refuses, ours must; where it answers, ours must give the same numbers. Cases
with parameters that only ours has go on without a partner: they may not crash, change their inputs
or answer nan.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pickle
import threading
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import d2_tweedie_score
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor

from fastmlp import MLPClassifier, MLPRegressor, from_sklearn
from fastmlp.estimators.stochastic import Progress

from .. import guarded
from . import draw
from .case import REFUSALS, Case, Ended, Raised, Refused
from .differences import LOOSER, OTHERWISE, REFUSED, STRICTER
from .draw import Drawn, chance, one_of

_BAD = (-1, 0, 1.5, np.nan, np.inf, None, "x", [], (), True, object)
# What errors say where numbers were on their way to infinity.
_DIVERGING = ("non-finite", "no longer a number", "a finite loss", "finite parameters", "can hold")
_GREAT = 1e8  # coefficients beyond this have no digits to compare


def _option(case: Case, good: tuple[Any, ...], spoil: float = 0.01) -> Any:
    return one_of(case.rng, *(_BAD if chance(case.rng, spoil) else good))


def _shared_options(case: Case) -> dict[str, Any]:
    """Parameters that both have."""
    rng = case.rng
    options: dict[str, Any] = {
        "hidden_layer_sizes": _option(case, (3, (5,), (4, 3), (), [2, 2], (17,))),
        "max_iter": one_of(rng, 1, 2, 3, 6),
        "random_state": int(rng.integers(100)),
        "solver": one_of(rng, "adam", "sgd", "lbfgs", "adam"),
        "activation": one_of(rng, "relu", "tanh", "logistic", "identity"),
    }
    more = {
        "alpha": (0.0, 1e-4, 0.5), "batch_size": ("auto", 1, 5, 7, 100), "shuffle": (True, False),
        "learning_rate": ("constant", "invscaling", "adaptive"), "power_t": (0.5, 0.1),
        "learning_rate_init": (1e-3, 1e-2, 0.1), "tol": (1e-4, 0.0, 1.0),
        "momentum": (0.9, 0.0, 1.0),
        "nesterovs_momentum": (True, False), "early_stopping": (True, False),
        "validation_fraction": (0.1, 0.3, 0.5, 0.01), "beta_1": (0.9, 0.0), "beta_2": (0.999, 0.5),
        "epsilon": (1e-8, 1e-4), "n_iter_no_change": (1, 10), "max_fun": (3, 15000),
        "warm_start": (True, False),
    }  # fmt: skip
    for name, good in more.items():
        if chance(rng, 0.15):
            options[name] = _option(case, good, 0.03)
    return options


def _own_options(case: Case, is_classifier: bool) -> dict[str, Any]:
    """Parameters that scikit-learn's does not have."""
    rng = case.rng
    more: dict[str, tuple[Any, ...]] = {
        "activation": ("gelu", "elu", "softplus", "silu", "mish", "selu", "leaky_relu"),
        "solver": ("adamw", "rmsprop", "adagrad"), "dropout": (0.2, 0.0, [0.1]),
        "l1_ratio": (0.5, 1.0), "weight_decay": (0.01,), "max_norm": (1.0, 0.1),
        "gradient_clip": (0.5, 1e-3), "n_threads": (1, 2, 3), "dtype": ("float32", "float64"),
        "width": (3, 16), "depth": (0, 1, 3), "scoring": ("loss",),
        "learning_rate": ("cosine", "one_cycle", "step", "linear", _hundredth),
        "callbacks": (Misbehaving(one_of(rng, *_MISDEEDS)),),
    }  # fmt: skip
    if is_classifier:
        more["label_smoothing"] = (0.1,)
        nan, inf = np.nan, np.inf
        more["class_weight"] = (
            "balanced", {0: 2.0, 1: 1.0, 2: 0.5}, {0: nan, 1: 1.0}, {0: inf}, {0: -1.0, 1: 1.0},
            {0: 0, 1: 0, 2: 0}, {}, {"a": 1}, {0: "x"}, {7: 1.0}, {0: None},
        )  # fmt: skip
    else:
        more["loss"] = ("absolute_error", "huber", "quantile", "poisson")
        more["quantile"], more["delta"] = (0.1, [0.1, 0.9], [0.5, 0.5, 0.2]), (0.1, 5.0)
    names = list(more)
    chosen = rng.choice(len(names), int(rng.integers(1, 4)), replace=False)
    return {names[i]: _option(case, more[names[i]], 0.05) for i in chosen}


_MISDEEDS = (
    "stop", "predict", "set coefs", "swap", "raise", "pickle", "fit", "delete", "params",
    "odd answer", "partial_fit", "array",
)  # fmt: skip


@dataclasses.dataclass
class Misbehaving:
    """A callback that does what nobody should in the middle of a fit."""

    what: str

    def __call__(self, model: Any, history: Any) -> Any:
        if not hasattr(model, "coefs_"):
            raise Raised(self.what)
        what, width = self.what, model.coefs_[0].shape[0]
        if what == "raise":
            raise Raised(what)
        if what == "set coefs":
            model.coefs_ = [np.ones(W.shape, np.float16) for W in model.coefs_]
        elif what == "swap":
            model.coefs_[0] = np.zeros((1, 1))
        elif what == "delete":
            del model.coefs_
        elif what == "params":
            model.set_params(hidden_layer_sizes=(50,), batch_size=10**6, solver="sgd")
        elif what == "predict":
            model.predict(np.zeros((2, width)))
        elif what == "pickle":
            pickle.loads(pickle.dumps(model))
        elif what in ("fit", "partial_fit"):
            model.callbacks = None
            (model.fit if model.solver == "lbfgs" else getattr(model, what))(
                np.ones((4, width + 1)), [0, 1, 0, 1]
            )
        elif what == "array":
            return np.array([1, 2])
        return what == "stop"


def _score(model: Any, X: Any, y: Any) -> float:
    """The model's score; of scikit-learn's for counts, whose R2 is not ours, what ours shall be."""
    if type(model) is TheirRegressor and model.loss == "poisson":
        model.score(X, y)  # refuses what it refuses
        return float(d2_tweedie_score(y, model.predict(X), power=1))
    return float(model.score(X, y))


def _hundredth(step: Any, n_steps: Any) -> float:
    return 0.01


class Pair:
    """Ours, and theirs as long as both can be compared."""

    def __init__(self, case: Case, ours: Any, theirs: Any | None) -> None:
        self.case, self.ours, self.theirs = case, ours, theirs
        self.tolerance = 1e-6

    def together(
        self, step: str, call: Callable[..., Any], given: tuple[Drawn, ...] = (),
        labels: tuple[str, ...] = (), also: tuple[type, ...] = (),
    ) -> Any:  # fmt: skip
        """Call with both, ours last; judge, and return what ours answered."""
        labels = (*(drawn.label for drawn in given if drawn.label), *labels)
        step = f"{step} {list(labels)}" if labels else step
        values = [drawn.value for drawn in given]
        also += self.also
        if OTHERWISE.keys() & set(labels):
            self.theirs = None
        must_refuse = bool(REFUSED.keys() & set(labels))
        theirs: Any = None
        if self.theirs is not None and not must_refuse:
            theirs = self._theirs(step, call, values)
        found = self.case.attempt(step, lambda: call(self.ours, *values), values, also)
        if must_refuse:
            if not isinstance(found, Refused):
                self.case.fail(f"{step}: answered")
                raise Ended
        elif self.theirs is not None:
            self._judge(step, found, theirs, set(labels), values)
        elif not (
            isinstance(found, Refused) or "y: huge" in labels
        ):  # no score has an answer to it
            self._look(step, found)
        return found

    def _theirs(self, step: str, call: Callable[..., Any], values: list[Any]) -> Any:
        self.case.tell(f"(scikit-learn) {step}")
        copies = [draw.plain(value) for value in values]
        with guarded.no_arrays(), np.errstate(all="ignore"):
            before = copy.deepcopy(vars(self.theirs))
            try:
                return call(self.theirs, *copies)
            except Exception as error:  # ours is then as it was; so shall theirs be
                vars(self.theirs).clear()
                vars(self.theirs).update(before)
                return Refused(error)

    def _judge(
        self, step: str, found: Any, theirs: Any, labels: set[str], values: list[Any]
    ) -> None:
        if isinstance(found, Refused) and isinstance(theirs, Refused):
            if self._diverges(found):
                raise Ended  # ours keeps what it came to, theirs is put back above
            return
        if isinstance(theirs, Refused):
            if LOOSER.keys() & labels:
                self.theirs = None
                return
            self.case.fail(f"{step}: answered, where scikit-learn raised {theirs.error!r:.200}")
            raise Ended
        if isinstance(found, Refused):
            if not (STRICTER.keys() & labels) and not self._diverges(found):
                self.case.fail(f"{step}: {found.error!r:.300}, where scikit-learn answered")
            raise Ended
        self._compare(step, found, theirs, values)

    def _diverges(self, found: Refused) -> bool:
        """Whether the numbers were on their way to infinity."""
        text = str(found.error)
        return any(words in text for words in _DIVERGING)

    def _compare(self, step: str, found: Any, theirs: Any, values: list[Any]) -> None:
        if found is self.ours:  # a fit
            self._compare_fits(step)
            return
        if found is None:
            return
        a, b = (np.asarray(v.toarray() if sparse.issparse(v) else v) for v in (found, theirs))
        if a.shape != b.shape:
            self.case.fail(f"{step}: shape {a.shape}, scikit-learn's has {b.shape}")
        elif a.dtype.kind != "f":  # labels
            if not self._are_tied(values[0], a != b):
                self.case.fail(f"{step}: other labels than scikit-learn's")
                raise Ended
        elif not self._close(a, b):
            self.case.fail(f"{step}: differs from scikit-learn's by {self._distance(a, b):.2g}")
            raise Ended

    def _compare_fits(self, step: str) -> None:
        ours, theirs = self.ours, self.theirs
        assert theirs is not None
        a, b = ([*m.coefs_, *m.intercepts_] for m in (ours, theirs))
        great = max((float(abs(W).max()) for W in b if W.size), default=0.0)
        if not great < _GREAT:
            raise Ended
        if ours.n_iter_ != theirs.n_iter_ or (ours.solver != "lbfgs" and ours.t_ != theirs.t_):
            self.case.fail(
                f"{step}: {ours.n_iter_} epochs, {ours.t_} samples; scikit-learn's "
                f"{theirs.n_iter_}, {theirs.t_}"
            )
            raise Ended
        for one, other in zip(a, b, strict=True):
            if one.shape != other.shape or not self._close(one, other):
                self.case.fail(f"{step}: weights differ by {self._distance(one, other):.2g}")
                raise Ended
        self.case.counts["fits as scikit-learn's"] += 1

    def _distance(self, a: np.ndarray, b: np.ndarray) -> float:
        scale = max(1.0, float(np.nanmax(abs(np.float64(b)), initial=0)))
        with np.errstate(all="ignore"):
            return float(np.nanmax(abs(np.float64(a) - np.float64(b)), initial=0)) / scale

    def _close(self, a: np.ndarray, b: np.ndarray) -> bool:
        b = np.asarray(b, a.dtype)  # objects were among the coefficients, say
        return bool((np.isnan(a) == np.isnan(b)).all()) and self._distance(a, b) <= self.tolerance

    def _are_tied(self, X: Any, differ: np.ndarray) -> bool:
        """Whether labels differ only where the two most likely ones are equally likely."""
        if not differ.any():
            return True
        assert self.theirs is not None
        with guarded.no_arrays(), np.errstate(all="ignore"):
            likely = self.theirs.predict_proba(draw.plain(X))
        if differ.ndim == 2:
            apart = abs(likely - 0.5)
        else:
            two = np.sort(likely, axis=1)[:, -2:]
            apart = two[:, 1] - two[:, 0]
        return bool((apart[differ] <= 10 * self.tolerance).all())

    def _look(self, step: str, found: Any) -> None:
        """What an answer must be without anything to compare it to."""
        arrays = [found] if isinstance(found, np.ndarray | float) else []
        for array in map(np.asarray, arrays):
            if array.dtype.kind == "f" and np.isnan(array).any():
                self.case.fail(f"{step}: silent nan")

    def copied(self, step: str, how: Callable[[Any], Any]) -> None:
        self.ours = self.case.attempt(step, lambda: how(self.ours))
        if isinstance(self.ours, Refused):
            self.case.fail(f"{step}: {self.ours.error!r}")
            raise Ended
        if self.theirs is not None:
            with guarded.no_arrays():
                self.theirs = copy.deepcopy(self.theirs) if how is not clone else clone(self.theirs)

    @property
    def also(self) -> tuple[type, ...]:
        """What else may be raised: weights that a callback deleted are missing."""
        deletes = getattr(self.ours, "callbacks", None) == Misbehaving("delete")
        return (AttributeError,) if deletes else ()

    @property
    def is_fitted(self) -> bool:
        return hasattr(self.ours, "coefs_")


class Sequence:
    """The data of a case and its steps."""

    def __init__(self, case: Case) -> None:
        rng, self.case = case.rng, case
        self.n, self.d = int(one_of(rng, 6, 12, 20, 33)), int(one_of(rng, 1, 2, 5, 9))
        dtype = one_of(rng, np.float64, np.float64, np.float64, np.float32)
        self.X = rng.normal(size=(self.n, self.d)).astype(dtype)
        task = one_of(
            rng, "binary", "classes", "strings", "labels", "number", "numbers", "counts", "wide"
        )
        is_classifier = task in ("binary", "classes", "strings", "labels")
        self.y = _targets_of(task, rng, self.X)
        options = _shared_options(case)
        if task == "counts":
            options["loss"] = "poisson"
        kinds = (
            (MLPClassifier, TheirClassifier) if is_classifier else (MLPRegressor, TheirRegressor)
        )
        own = _own_options(case, is_classifier) if chance(rng, 0.3) else {}
        case.tell(
            f"{kinds[0].__name__} {options | own} on {task}, {self.n} x {self.d} {dtype.__name__}"
        )
        theirs = None if own or case.mode == "start" else kinds[1](**options)
        self.pair = Pair(case, kinds[0](**options | own), theirs)
        if dtype is np.float32:
            self.pair.tolerance = 2e-3
        self.task, self.is_classifier = task, is_classifier
        self.fits = 0
        self._unlike: tuple[str, ...] = ()  # a label, once a fit got other targets than self.y

    def run(self) -> None:
        rng = self.case.rng
        self.fit()
        for _ in range(int(rng.integers(1, 6))):
            one_of(
                rng, self.fit, self.fit_again, self.partial_fit, self.partial_fit, self.predict,
                self.predict, self.predict, self.score, self.set_weights, self.set_weights,
                self.set_attribute, self.copy, self.copy, self.set_params, self.validate,
                self.threads, self.look, self.serve, self.convert,
            )()  # fmt: skip

    # ------------------------------------------------------------------ steps

    def _data(self, spoil: float = 0.15) -> tuple[Drawn, Drawn, Drawn]:
        rng, folder = self.case.rng, self.case.folder
        X, y = draw.rows(rng, self.X, folder, spoil), draw.targets(rng, self.y, folder, spoil)
        if self.is_classifier and y.label == "y: dates":  # they are classes like others
            y = y._replace(label="")
        return X, y, draw.weights(rng, self.n, folder)

    def _labels(self, y: Drawn | None = None) -> tuple[str, ...]:
        """What is different about this fit whatever it is given."""
        several = self.y.ndim == 2
        found = []
        if several and self.pair.ours.solver == "lbfgs":
            found.append("several targets with lbfgs")
        if self.fits and self.pair.ours.warm_start is True and self.pair.ours.solver != "lbfgs":
            found.append("warm start")
        if getattr(self.pair.ours, "loss", "") == "poisson":
            if self.pair.ours.early_stopping is True:
                found.append("early stopping of counts")
            if y is not None and y.label in ("y: numbers", "y: other type"):
                found.append("y: negative")
        if y is not None and y.label == "y: huge" and self.pair.ours.early_stopping is True:
            found.append("early stopping of huge numbers")
        if y is not None and self.fits and several and np.size(y.value) < self.y.size:
            found.append("y: fewer columns")
        return tuple(found)

    def fit(self) -> None:
        X, y, weights = self._data()
        if X.label == "X: float32":
            self.pair.tolerance = 2e-3
        labels = self._labels(y)
        if self.pair.ours.solver == "lbfgs" and y.label in ("y: several labels", "y: more columns"):
            labels += ("several targets with lbfgs",)
        if weights.value is None:
            self.pair.together("fit", lambda m, X, y: m.fit(X, y), (X, y), labels)
        else:
            self.pair.together("fit", lambda m, *a: m.fit(*a), (X, y, weights), labels)
        self._count(y)

    def _count(self, y: Drawn) -> None:
        self.fits += 1
        if y.label.startswith("y: "):
            self._unlike = ("y: unlike the last",)

    def fit_again(self) -> None:
        self.pair.together(
            "fit", lambda m, X, y: m.fit(X, y), (Drawn(self.X), Drawn(self.y)), self._labels()
        )
        self.fits += 1

    def partial_fit(self) -> None:
        X, y, weights = self._data()
        labels: tuple[str, ...] = ()
        options: dict[str, Any] = {}
        if self.is_classifier:
            classes = np.unique(self.y) if self.task != "labels" else np.arange(self.y.shape[1])
            if not self.pair.is_fitted or chance(self.case.rng, 0.2):
                options["classes"] = one_of(
                    self.case.rng,
                    classes,
                    classes,
                    classes,
                    classes.tolist(),
                    classes[:-1],
                    classes[::-1],
                )
            if self.task == "labels" or y.label == "y: several labels":
                labels = ("several labels in partial_fit",)
        elif self.pair.ours.solver == "lbfgs":
            labels = ("partial_fit with lbfgs",)
        else:
            labels = tuple({*self._labels(y)} - {"warm start", "early stopping of counts"})
        labels += self._unlike
        if np.ndim(y.value) != self.y.ndim:
            labels += ("y: unlike the last",)
        if weights.value is not None:
            self.pair.together(
                "partial_fit", lambda m, X, y, w: m.partial_fit(X, y, sample_weight=w, **options),
                (X, y, weights), labels, also=(AttributeError,),
            )  # fmt: skip
        else:
            self.pair.together(
                "partial_fit", lambda m, X, y: m.partial_fit(X, y, **options), (X, y), labels,
                also=(AttributeError,),
            )  # fmt: skip
        self._count(y)

    def predict(self) -> None:
        rng = self.case.rng
        names = ["predict", "predict"]
        if self.is_classifier:
            names += ["predict_proba", "predict_log_proba"]
        name, X = (
            one_of(rng, *names),
            draw.rows(rng, self.X[:: one_of(rng, 1, 1, 5)], self.case.folder),
        )
        found = self.pair.together(name, lambda m, X: getattr(m, name)(X), (X,))
        if isinstance(found, np.ndarray) and found.shape[0] != np.shape(X.value)[0]:
            self.case.fail(f"{name}: {found.shape} for {np.shape(X.value)}")

    def score(self) -> None:
        X, y, _ = self._data()
        labels = {"y: negative"} & {*self._labels(y)}
        self.pair.together("score", _score, (X, y), tuple(labels))

    def look(self) -> None:
        """Methods that only ours has."""
        rng = self.case.rng
        X = draw.rows(rng, self.X, self.case.folder)
        name, option = (
            one_of(rng, "transform", "input_gradients"),
            one_of(rng, 0, 0, -1, 1, 7, "x", 0.5),
        )
        self.case.attempt(
            f"{name} {X.label} {option!r}",
            lambda: getattr(self.pair.ours, name)(X.value, option),
            [X.value],
            self.pair.also,
        )

    def set_weights(self) -> None:
        """Set `coefs_` or `intercepts_`, or one of their arrays, as federated averaging does."""
        if not self.pair.is_fitted:
            return
        rng, name = self.case.rng, one_of(self.case.rng, "coefs_", "coefs_", "intercepts_")
        arrays = getattr(self.pair.ours, name)
        place = int(rng.integers(len(arrays)))
        drawn = draw.vector_like(rng, arrays[place])
        kind = one_of(
            rng, "item", "item", "list", "list", "tuple", "cut", "more", "none", "in place"
        )
        if kind in ("cut", "more", "none"):
            drawn = Drawn(drawn.value, "set: other shape")
            found: Any = {"cut": arrays[:-1], "more": [*arrays, arrays[-1]], "none": None}[kind]
        elif kind == "in place":
            drawn = Drawn(drawn.value, "set: in place")

        def change(m: Any, value: Any) -> None:
            if kind == "item":
                getattr(m, name)[place] = value
            elif kind == "in place":
                getattr(m, name)[place].flat[0] = 0.25
            elif kind in ("list", "tuple"):
                items = [a.copy() for a in getattr(m, name)]
                items[place] = value
                is_tuple = kind == "tuple" and m is self.pair.ours  # theirs adds lists only
                setattr(m, name, tuple(items) if is_tuple else items)
            else:
                setattr(m, name, found)

        label = drawn.label
        step = f"{name}, {kind} {place}"
        if label in REFUSED:  # by the setter, or by what follows
            self.pair.theirs = None
            X = Drawn(self.X)

            def both(m: Any, value: Any, X: Any) -> Any:
                change(m, value)
                return m.predict(X)

            self.pair.together(step + ", predict", both, (drawn, X), also=(AttributeError,))
            raise Ended
        got = self.pair.together(step, change, (drawn,), also=(AttributeError,))
        if not isinstance(got, Refused):
            if label in ("set: whole", "set: half"):
                self._unlike += ("set: then trained",)
            X = Drawn(self.X)
            labels = (label,) if label else ()
            self.pair.together("predict", lambda m, X: m.predict(X), (X,), labels)

    def set_attribute(self) -> None:
        """Swap another fitted attribute; scikit-learn's answer is not asked for."""
        rng = self.case.rng
        values: dict[str, tuple[Any, ...]] = {
            "n_outputs_": (1, 2, 100, -1, None, "x"), "n_layers_": (2, 5, 0, None),
            "n_features_in_": (1, self.d + 1, None, "x"), "n_iter_": (7, None), "t_": (0, None, -1),
            "out_activation_": ("softmax", "x", None), "loss_curve_": ([], None, "x"),
            "best_loss_": (None, np.nan, "x"), "_no_improvement_count": (5, None),
            "classes_": (np.arange(1), np.arange(50), np.array(["a", "b"]), None, [0, 1, 2],
                [1, 0]),
            "_progress": (Progress(np.zeros(1)), Progress(n_steps=10**9), None, "x"),
            "_net": (None, "x"), "_binarizer": (None,), "history_": (None, {}),
            "activation": ("tanh", "gelu"), "solver": ("sgd", "lbfgs", "rmsprop"),
            "hidden_layer_sizes": ((50,), (), 3), "_random_state": (None,),
            "dtype": ("float32", "x"),
            "loss": ("poisson", "quantile"), "quantile": ([0.1, 0.5, 0.9], 0.1),
        }  # fmt: skip
        name = one_of(rng, *values)
        value = one_of(rng, *values[name])
        progress = getattr(self.pair.ours, "_progress", None)
        if name == "_progress" and progress is not None and progress.memory is not None:
            memory = progress.memory
            memory = one_of(
                rng, memory.astype(np.float16), guarded.read_only(memory), memory[:-1], None
            )
            value = dataclasses.replace(progress, memory=memory)
        self.pair.theirs = None
        if isinstance(value, np.ndarray):
            value = value.copy() if value.flags.writeable else value
        if name in ("loss", "quantile") and self.is_classifier:
            return
        self.case.attempt(
            f"{name} = {value!r:.60}",
            lambda: setattr(self.pair.ours, name, value),
            (),
            (AttributeError,),
        )
        # Nonsense in private attributes may raise anything, as long as it does not crash.
        for step in ("predict", "partial_fit", "predict"):
            arguments = (self.X, self.y) if step == "partial_fit" else (self.X,)
            self.case.tell(f"{step} after {name} = {value!r:.60}")
            with contextlib.suppress(Exception):
                getattr(self.pair.ours, step)(*arguments)
        raise Ended

    def copy(self) -> None:
        how = one_of(
            self.case.rng, "pickle", "deepcopy", "clone", "joblib", "joblib r", "joblib r+",
            "joblib c", "state r",
        )  # fmt: skip
        self.pair.copied(how, clone if how == "clone" else lambda m: self._copy_of(m, how))

    def _copy_of(self, m: Any, how: str) -> Any:
        if how == "deepcopy":
            return copy.deepcopy(m)
        if how == "pickle":
            return pickle.loads(pickle.dumps(m, protocol=int(self.case.rng.integers(2, 6))))
        if how == "state r":  # as joblib's workers get it: every array in it read-only
            text, buffers = out_of_band(m)
            return pickle.loads(text, buffers=buffers)
        path = self.case.folder / f"model{int(self.case.rng.integers(1 << 30))}.joblib"
        joblib.dump(m, path)
        return joblib.load(path, mmap_mode=how.partition(" ")[2] or None)

    def set_params(self) -> None:
        rng = self.case.rng
        name, values = one_of(
            rng, ("alpha", (0.0, 0.5)), ("hidden_layer_sizes", ((3,), (6, 2), ())),
            ("batch_size", (3, "auto")),
            ("max_iter", (1, 4)), ("random_state", (1, 2)), ("warm_start", (True, False)),
            ("solver", ("sgd", "adam")), ("activation", ("relu", "tanh")),
            ("learning_rate_init", (0.05,)),
        )  # fmt: skip
        value = one_of(rng, *values)
        labels = ()
        if self.fits and name not in ("max_iter", "random_state"):
            labels = ("parameters between fits",)
        self.pair.together(
            f"set_params({name}={value!r})",
            lambda m: (m.set_params(**{name: value}), None)[1],
            (),
            labels,
        )

    def validate(self) -> None:
        """Held-out rows of the user's own, of every wrong kind."""
        self.pair.theirs = None
        rng, folder = self.case.rng, self.case.folder
        if self.pair.ours.solver == "lbfgs":
            return
        X, y, w = self.X[: self.n // 2], self.y[: self.n // 2], np.ones(self.n // 2)
        broken = draw.broken_sparse(rng, X).value
        nan = np.full(X.shape, np.nan)
        kinds: tuple[tuple[str, tuple[Any, Any, Any]], ...] = (
            ("", (X, y, w)), ("", (X, y, None)), ("", (draw.layout(rng, X, folder).value, y, None)),
            ("bad", (X, y[:-1], None)), ("bad", (X, y[:1], w)), ("bad", (X, None, None)),
            ("bad", (None, y, None)), ("bad", (X, y, w[:-1])), ("bad", (X, y, w * np.nan)),
            ("bad", (X, y, -w)), ("bad", (nan, y, None)), ("bad", (X[:, :0], y, None)),
            ("bad", (np.c_[X, X], y, None)), ("bad", (broken, y, None)), ("bad", ("x", y, None)),
            ("bad", (X, "y", None)), ("bad", (X, np.full(len(X), np.nan), None)),
            ("bad", (X, np.array([["a"]] * len(X)), None)), ("bad", (X[:0], y[:0], None)),
            ("bad", (X, y, "w")), ("bad", (X, 7, None)), ("bad", (X, y[None], None)),
            ("bad", (X, np.full(len(y), 77.5).astype("M8[s]"), None)), ("bad", (X, y, w[:, None])),
            ("bad", (X + 1j, y, None)), ("bad", (X[0], y, None)),
            ("bad", (X, np.concatenate([y, y]), None)), ("bad", (X, np.c_[y, y, y, y], None)),
        )  # fmt: skip
        number = int(rng.integers(len(kinds)))
        label, (X_val, y_val, w_val) = kinds[number]
        labels = ("validation: bad",) if label else ()
        y_drawn = Drawn(self.y)
        self.pair.together(
            f"fit with X_val, kind {number}",
            lambda m, X, y, *v: m.fit(X, y, X_val=v[0], y_val=v[1], sample_weight_val=v[2]),
            (Drawn(self.X), y_drawn, Drawn(X_val), Drawn(y_val), Drawn(w_val)), labels,
        )  # fmt: skip

    def threads(self) -> None:
        """Three threads with one model: predictions agree; fits at once may only not crash."""
        if not self.pair.is_fitted:
            return
        model, X = self.pair.ours, self.X
        writes = chance(self.case.rng, 0.4) and model.solver != "lbfgs"
        wanted = self.case.attempt("predict", lambda: model.predict(X))
        if isinstance(wanted, Refused):
            return
        found: list[Any] = []

        def work(number: int) -> None:
            with guarded.arrays(), np.errstate(all="ignore"):
                try:
                    for _ in range(3):
                        if writes and number:
                            model.partial_fit(X, self.y)
                        found.append(model.predict(X))
                except REFUSALS as error:
                    found.append(error)
                except Exception as error:  # judged below
                    found.append(error)

        if sparse.issparse(wanted):
            return
        self.case.tell(f"threads, {'partial_fit' if writes else 'predict'}")
        run_threads(work)
        if writes:
            self.pair.theirs = None
            raise Ended
        for answer in found:
            if isinstance(answer, Exception) or not np.array_equal(answer, wanted):
                self.case.fail(f"threads: {answer!r:.200} instead of the same predictions")
                raise Ended

    def serve(self) -> None:
        """The predictor of a model, which must say what the model says."""
        if not self.pair.is_fitted:
            return
        model = self.pair.ours
        predictor = self.case.attempt("compile_predictor", model.compile_predictor)
        if isinstance(predictor, Refused):
            return
        name = "predict_proba" if self.is_classifier else "predict"
        wanted = self.case.attempt(name, lambda: getattr(model, name)(self.X))
        X = draw.rows(self.case.rng, self.X, self.case.folder, 0.0)
        value = X.value.toarray() if hasattr(X.value, "toarray") else X.value
        found = self.case.attempt("predictor", lambda: predictor(value), [value])
        if isinstance(found, Refused) or isinstance(wanted, Refused):
            return
        is_comparable = X.plain is not None and not hasattr(X.value, "toarray")
        # Several quantiles come as they are, and cross at times; `predict` puts them in order.
        is_comparable = is_comparable and getattr(model, "loss", "") != "quantile"
        is_comparable = is_comparable and np.shape(found) == np.shape(wanted)
        if is_comparable and not np.allclose(found, wanted, atol=1e-5):
            self.case.fail("predictor: differs from predict_proba")

    def convert(self) -> None:
        """`from_sklearn` of theirs, be it spoilt or not."""
        theirs = self.pair.theirs
        if theirs is None or not hasattr(theirs, "coefs_"):
            return
        with guarded.no_arrays():
            other = copy.deepcopy(theirs)
        if chance(self.case.rng, 0.4):
            place = int(self.case.rng.integers(len(other.coefs_)))
            other.coefs_[place] = draw.vector_like(self.case.rng, other.coefs_[place]).value
        made = self.case.attempt("from_sklearn", lambda: from_sklearn(other), (), (AttributeError,))
        if not isinstance(made, Refused):
            self.case.attempt("predict of from_sklearn", lambda: made.predict(self.X), [self.X])


def _targets_of(task: str, rng: np.random.Generator, X: np.ndarray) -> np.ndarray:
    n = len(X)
    found: dict[str, Any] = {
        "binary": lambda: np.arange(n) % 2, "classes": lambda: rng.permutation(np.arange(n) % 3),
        "strings": lambda: np.array(["no", "yes", "maybe"])[np.arange(n) % 3],
        "labels": lambda: (np.arange(2 * n).reshape(n, 2) % 3 > 0).astype(int),
        "number": lambda: X[:, 0] ** 2, "numbers": lambda: np.c_[X[:, 0], X[:, -1] ** 2],
        "counts": lambda: rng.poisson(2, n), "wide": lambda: rng.normal(size=(n, 3)),
    }  # fmt: skip
    made: np.ndarray = found[task]()
    return made


def out_of_band(m: Any) -> tuple[bytes, Any]:
    """A pickle whose arrays are read-only, as those from shared memory are."""
    buffers: list[Any] = []
    text = pickle.dumps(m, protocol=5, buffer_callback=buffers.append)
    return text, [guarded.read_only(np.frombuffer(b.raw(), np.uint8)).data for b in buffers]


def run_threads(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(case: Case) -> None:
    """A case of this kind."""
    Sequence(case).run()
