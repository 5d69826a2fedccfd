"""The parameters of both estimators: what values each may have, in scikit-learn's terms.

Names and defaults of scikit-learn's MLP come first; additional ones are keyword-only.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ..engine.threads import MOST_THREADS
from ..errors import InputError, InputTypeError
from ..inputs.checks import takes, whole_number
from ..nn import ACTIVATIONS, LAYERS, Activation
from ..optim.averaging import Averaging
from ..optim.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from ..optim.schedules import SCHEDULES, Schedule, schedule_of
from .callbacks import as_list
from .members import ROWS

STOCHASTIC_SOLVERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad")
SKLEARN_RATES = ("constant", "invscaling", "adaptive")

_ACTIVATION_NAMES = {cls.name for cls in ACTIVATIONS} | set(LAYERS.other_names)
_RATE_NAMES = {*SKLEARN_RATES, *SCHEDULES.names} - {"warm_up", "function"}

_positive = Interval(Real, 0, None, closed="neither")
_not_negative = Interval(Real, 0, None, closed="left")
_fraction = Interval(Real, 0, 1, closed="left")
_count = Interval(Integral, 1, None, closed="left")

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", _count],
    "activation": [StrOptions(_ACTIVATION_NAMES), Activation, list, tuple],
    "solver": [StrOptions({"lbfgs", *STOCHASTIC_SOLVERS})],
    "alpha": [_not_negative],
    "batch_size": [StrOptions({"auto"}), _count],
    "learning_rate": [StrOptions(_RATE_NAMES), Schedule, callable],
    "learning_rate_init": [_positive],
    "power_t": [_not_negative],
    "max_iter": [_count],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_not_negative],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_fraction],
    "beta_1": [_fraction],
    "beta_2": [_fraction],
    "epsilon": [_positive],
    "n_iter_no_change": [_count, Options(Real, {np.inf})],
    "max_fun": [_count],
    "width": [_count, None],
    "depth": [Interval(Integral, 0, None, closed="left"), None],
    "dropout": [_fraction, "array-like"],
    "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    "weight_decay": [_not_negative],
    "max_norm": [_positive, None],
    "gradient_clip": [_positive, None],
    "n_members": [_count],
    "member_rows": [StrOptions(set(ROWS))],
    "scoring": [str, callable, None],
    "callbacks": ["array-like", None, callable, Averaging],
    "n_threads": [Interval(Integral, 1, MOST_THREADS, closed="both"), None],
    "dtype": [StrOptions({"float32", "float64"}), None],
}


def hidden_sizes(estimator: Any) -> list[int]:
    """Units of each hidden layer, from `width` and `depth` if given."""
    sizes = estimator.hidden_layer_sizes
    sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]
    if estimator.width is not None or estimator.depth is not None:
        width = estimator.width if estimator.width is not None else (sizes or [100])[0]
        sizes = [width] * (estimator.depth if estimator.depth is not None else max(len(sizes), 1))
    if any(isinstance(size, Real) and size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    where = f"{type(estimator).__name__}.fit"
    return [whole_number(where, "each of hidden_layer_sizes", s, 1) for s in sizes]


def check_together(estimator: Any, validates: bool, incremental: bool) -> None:
    """Refuse parameters that would be ignored beside the others.

    validates: whether X_val is given; incremental: whether it is partial_fit.

    Those that scikit-learn has and silently ignores are accepted.
    """
    e, where = estimator, f"{type(estimator).__name__}.fit"
    if e.member_rows != "all" and e.n_members == 1:
        raise InputError(
            where, "several members with member_rows", "n_members=1", "pass n_members=10, say"
        )
    averagings = [one for one in as_list(e.callbacks) if isinstance(one, Averaging)]
    if len(averagings) > 1:
        raise InputError(where, "one EMA or SWA", f"{len(averagings)}", "pass one")
    if averagings and incremental:
        raise InputError(
            where, "no EMA or SWA with partial_fit", "one", "call fit, which averages all its steps"
        )
    for callback in as_list(e.callbacks):
        if isinstance(callback, Averaging):
            continue
        if hasattr(callback, "on_batch"):
            raise InputError(
                where, "callbacks of epochs", "one with on_batch", "pass it to Network.fit instead"
            )
        if not callable(callback):
            raise InputTypeError(
                where, "callbacks that can be called as f(estimator, history)",
                type(callback).__name__, "pass functions; a Checkpoint belongs to Network.fit",
            )  # fmt: skip
        takes(where, "callbacks that are functions", callback, "estimator", "history")
    if e.solver not in STOCHASTIC_SOLVERS:
        ignored = {
            "dropout": np.any(np.asarray(e.dropout) > 0),
            "weight_decay": e.weight_decay > 0,
            "max_norm": e.max_norm is not None,
            "gradient_clip": e.gradient_clip is not None,
            "scoring": e.scoring is not None,
            "schedule": e.learning_rate not in SKLEARN_RATES,
            "X_val": validates,
            "EMA or SWA": averagings,
        }
        for name, given in ignored.items():
            if given:
                raise InputError(
                    where, f"no {name} with solver={e.solver!r}", "one",
                    "leave it out or choose another solver, such as 'adam'",
                )  # fmt: skip
    elif e.scoring is not None and not (e.early_stopping or validates):
        raise InputError(
            where, "samples to be scored after each epoch", f"scoring={e.scoring!r} without them",
            "pass early_stopping=True, or X_val and y_val",
        )  # fmt: skip


def per_layer(where: str, name: str, value: Any, n_layers: int) -> list[Any]:
    """One value for each hidden layer, from a single value or a list."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [value] * n_layers
    values = list(value)
    if len(values) != n_layers:
        raise InputError(
            where, f"{name} as one value or {n_layers}, one for each hidden layer",
            f"{len(values)}", "match hidden_layer_sizes",
        )  # fmt: skip
    return values


def activation_of(value: Any) -> Activation:
    """An activation layer from a name (scikit-learn's or ours) or from another such layer."""
    if isinstance(value, str):
        made: Activation = LAYERS[value]()  # type: ignore[assignment]
        return made
    if dataclasses.is_dataclass(type(value)):
        return dataclasses.replace(value)
    twin: Activation = copy.copy(value)
    twin.n_in = twin.n_out = None
    return twin


def schedule_for(estimator: Any) -> Schedule | None:
    """The schedule of every step, or None for scikit-learn's rules, which change once an epoch."""
    rate, start = estimator.learning_rate, estimator.learning_rate_init
    if not isinstance(rate, str):
        return schedule_of(rate)
    if rate in SKLEARN_RATES:
        return None
    made: Schedule = SCHEDULES[rate](start)  # type: ignore[call-arg]
    return made


def optimizer_for(estimator: Any) -> Optimizer:
    """The optimizer that a solver's name and parameters describe."""
    e = estimator
    common: dict[str, Any] = {
        "weight_decay": float(e.weight_decay),
        "clip_norm": None if e.gradient_clip is None else float(e.gradient_clip),
    }
    if e.solver == "sgd":
        momentum = min(float(e.momentum), np.nextafter(1, 0))
        nesterov = bool(e.nesterovs_momentum) and momentum > 0
        return SGD(momentum=momentum, nesterov=nesterov, **common)
    if e.solver in ("adam", "adamw"):
        kind = Adam if e.solver == "adam" else AdamW
        betas: dict[str, Any] = {"beta1": float(e.beta_1), "beta2": float(e.beta_2)}
        return kind(epsilon=float(e.epsilon), epsilon_hat=True, **betas, **common)
    if e.solver == "rmsprop":
        return RMSprop(rho=float(e.momentum), epsilon=float(e.epsilon), **common)
    return Adagrad(epsilon=float(e.epsilon), **common)


def take(estimator: Any, arguments: dict[str, Any]) -> None:
    """Set a constructor's arguments as attributes, unchanged."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)
