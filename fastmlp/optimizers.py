"""Optimizers: frozen hyperparameters, the row of numbers of each step, and the step itself.

State lives in one array beside the parameters, so it can be saved, restored and shared out to
threads; the rule for one parameter is in `kernels.optimizers`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

from . import checks
from .errors import InputError, InputTypeError
from .kernels import optimizers as kernels
from .kernels.jit import address_of, aligned_zeros
from .registry import Registry
from .schedules import Schedule, schedule_of

OPTIMIZERS: Registry[Optimizer] = Registry("optimizer")


class Group(NamedTuple):
    """A part of the flat parameters that one layer's weights or biases take."""

    name: str  # "0.W": layer number and parameter
    start: int
    size: int
    is_weight: bool
    scale: float  # of the parametrisation, see Initializer.parameter_scale


@runtime_checkable
class CustomOptimizer(Protocol):
    """An optimizer of your own: anything with this method, which updates `params` in place."""

    def step(self, params: np.ndarray, grads: np.ndarray) -> None: ...


@dataclass(frozen=True)
class Optimizer:
    """Base of the built-in optimizers.

    Parameters
    ----------
    learning_rate : float, Schedule or callable
        Step size, or what gives it for each step (see `fastmlp.schedules`).
    weight_decay : float, default 0
        Decoupled decay: before each step weights shrink by 1 - learning_rate * weight_decay; biases
        do not (Loshchilov and Hutter, 2019).
    clip_norm : float, optional
        Largest Euclidean norm of the whole gradient; a longer one is scaled down to it.
    factors : mapping of str to float, optional
        Learning-rate factors by parameter name, with wildcards: {"*.b": 0.1, "0.W": 6.0}. Later
        entries win.
    """

    name: ClassVar[str]
    code: ClassVar[int]
    n_vectors: ClassVar[int] = 0  # of state, each as long as the parameters
    ignores_gradient_scale: ClassVar[bool] = True

    learning_rate: Any = 1e-3
    weight_decay: float = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    factors: Mapping[str, float] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        where = type(self).__name__
        object.__setattr__(self, "learning_rate", schedule_of(self.learning_rate))
        checks.number(where, "weight_decay", self.weight_decay, 0)
        if self.clip_norm is not None:
            checks.number(where, "clip_norm", self.clip_norm, 0, low_open=True)
        if self.factors is not None and not isinstance(self.factors, Mapping):
            raise InputTypeError(
                where, "factors as a mapping", type(self.factors).__name__, 'write {"*.b": 0.1}'
            )
        for pattern, factor in (self.factors or {}).items():
            if not isinstance(pattern, str):
                raise InputTypeError(
                    where, "names in factors", type(pattern).__name__, 'write {"*.b": 0.1}'
                )
            checks.number(where, f"factors[{pattern!r}]", factor, 0)

    def _check(self, **bounds: tuple[float, float]) -> None:
        for name, (low, high) in bounds.items():
            checks.number(type(self).__name__, name, getattr(self, name), low, high, high_open=True)

    @property
    def schedule(self) -> Schedule:
        rate: Schedule = self.learning_rate
        return rate

    def initial_state(self, n_params: int, dtype: np.dtype) -> np.ndarray:
        """Zeros (n_vectors * n_params,)."""
        return aligned_zeros(self.n_vectors * n_params, dtype)

    def step_numbers(self, first_step: int, rates: np.ndarray) -> np.ndarray:
        """Hyperparameters of consecutive steps, (n, N_HYPERPARAMETERS) float64."""
        table = np.zeros((rates.size, kernels.N_HYPERPARAMETERS))
        table[:, kernels.RATE] = rates
        table[:, kernels.DECAY] = rates * self.weight_decay
        self._fill(table, first_step + 1.0 + np.arange(rates.size))
        return table

    def _fill(self, table: np.ndarray, t: np.ndarray) -> None:
        """Write the rule's own columns; t counts steps from 1."""

    def group_factors(self, groups: list[Group]) -> list[tuple[float, float]]:
        """Learning-rate and decay factor of each group."""
        rates = {group.name: 1.0 for group in groups}
        for pattern, factor in (self.factors or {}).items():
            hits = fnmatch.filter(rates, pattern)
            if not hits:
                names = ", ".join(rates)
                raise InputError(
                    type(self).__name__,
                    f"factors for some of {names}",
                    repr(pattern),
                    "use a name or a pattern such as '*.b'",
                )
            rates.update(dict.fromkeys(hits, float(factor)))
        found = []
        for group in groups:
            shift = group.scale if self.ignores_gradient_scale else group.scale**2
            decay = 1.0 / shift if group.is_weight else 0.0
            found.append((rates[group.name] * shift, decay))
        return found

    def update(
        self,
        numbers: np.ndarray,
        groups: list[Group],
        params: np.ndarray,
        grads: np.ndarray,
        state: np.ndarray,
    ) -> None:
        """One step in place, with one row of `step_numbers`."""
        n, one = params.size, params.dtype.type(1)
        gradient = address_of(grads)
        if self.clip_norm is not None:
            scale = kernels.clip_factor(n, gradient, float(self.clip_norm), one)
            if scale != 1:
                kernels.rescale(n, gradient, scale, one)
        for group, (rate, decay) in zip(groups, self.group_factors(groups), strict=True):
            kernels.update(
                self.code, address_of(numbers), rate, decay, group.start, 1, group.size, 0, n,
                address_of(params), gradient + group.start * params.itemsize, 0,
                address_of(state), one,
            )  # fmt: skip


@OPTIMIZERS.register
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, p <- p + v with v <- momentum v - learning_rate g.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.01
    momentum : float in [0, 1), default 0
    nesterov : bool, default False
        Look one velocity ahead: p <- p + momentum v - learning_rate g (Sutskever et al., 2013).
    """

    name: ClassVar[str] = "sgd"
    ignores_gradient_scale: ClassVar[bool] = False
    learning_rate: Any = 1e-2
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(momentum=(0, 1))

    @property
    def code(self) -> int:  # type: ignore[override]
        return kernels.MOMENTUM if self.momentum > 0 else kernels.SGD

    @property
    def n_vectors(self) -> int:  # type: ignore[override]
        return int(self.momentum > 0)

    def _fill(self, table: np.ndarray, t: np.ndarray) -> None:
        table[:, kernels.A] = self.momentum
        table[:, kernels.B] = self.nesterov


@OPTIMIZERS.register
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """p <- p - learning_rate g / (sqrt(s) + epsilon), s a running mean of g^2.

    Tieleman and Hinton, Coursera lecture 6.5 (2012).

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.001
    rho : float in [0, 1), default 0.9
        Weight of the past in the running mean.
    epsilon : float, default 1e-8
    """

    name: ClassVar[str] = "rmsprop"
    code: ClassVar[int] = kernels.RMSPROP
    n_vectors: ClassVar[int] = 1
    rho: float = 0.9
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(rho=(0, 1), epsilon=(0, np.inf))

    def _fill(self, table: np.ndarray, t: np.ndarray) -> None:
        table[:, kernels.A] = self.rho
        table[:, kernels.B] = self.epsilon
        table[:, kernels.D] = 1.0 - self.rho


@OPTIMIZERS.register
@dataclass(frozen=True)
class Adagrad(Optimizer):
    """p <- p - learning_rate g / (sqrt(s) + epsilon), s the sum of all g^2 (Duchi et al., 2011).

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.01
    epsilon : float, default 1e-10
    """

    name: ClassVar[str] = "adagrad"
    code: ClassVar[int] = kernels.ADAGRAD
    n_vectors: ClassVar[int] = 1
    learning_rate: Any = 1e-2
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(epsilon=(0, np.inf))

    def _fill(self, table: np.ndarray, t: np.ndarray) -> None:
        table[:, kernels.A] = self.epsilon


@OPTIMIZERS.register
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, Algorithm 1 of Kingma and Ba (2015): epsilon is added after the bias corrections.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.001
    beta1, beta2 : float in [0, 1), default 0.9 and 0.999
        Weights of the past in the running means of g and g^2.
    epsilon : float, default 1e-8
    epsilon_hat : bool, default False
        Add epsilon before the bias corrections, which weakens it in early steps: the variant that
        the paper ends Section 2 with, and scikit-learn and Keras use.
    """

    name: ClassVar[str] = "adam"
    code: ClassVar[int] = kernels.ADAM
    n_vectors: ClassVar[int] = 2
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_hat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(beta1=(0, 1), beta2=(0, 1), epsilon=(0, np.inf))

    def _fill(self, table: np.ndarray, t: np.ndarray) -> None:
        # m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), with the corrections taken out of the
        # loop over parameters.
        root = np.sqrt(1.0 - self.beta2**t)
        table[:, kernels.RATE] *= root / (1.0 - self.beta1**t)
        table[:, kernels.A] = self.beta1
        table[:, kernels.B] = self.beta2
        table[:, kernels.C] = self.epsilon if self.epsilon_hat else self.epsilon * root
        table[:, kernels.D] = 1.0 - self.beta1
        table[:, kernels.E] = 1.0 - self.beta2


@OPTIMIZERS.register
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 by default (Loshchilov and Hutter, 2019)."""

    name: ClassVar[str] = "adamw"
    weight_decay: float = field(default=0.01, kw_only=True)
