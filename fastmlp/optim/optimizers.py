"""Optimizers: frozen hyperparameters, the row of numbers of each step, and the step itself.

State is one array next to the parameters, so it can be saved, restored and divided among threads;
the rule for one parameter is in `kernels.rules.optimizers`.
"""

from __future__ import annotations

import fnmatch
import inspect
import itertools
import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeGuard, TypeVar

import numpy as np

from ..errors import InputError, InputTypeError
from ..inputs import checks
from ..kernels.compiler.calls import check_declared
from ..kernels.compiler.denormals import flush_denormals, restore_denormals
from ..kernels.compiler.memory import address_of, aligned_zeros
from ..kernels.interfaces import UPDATE
from ..kernels.rules import optimizers as kernels
from ..kernels.views import Factors, Memory, Run
from ..model.groups import Group as Group
from ..model.groups import groups_of, owner_of
from ..registry import Registry, checked_keywords
from .schedules import Schedule, need_n_steps, number_or_schedule, rates_of, schedule_of, values_of

_OTHER_NAMES = {"gd": "sgd", "gradient_descent": "sgd", "stochastic_gradient_descent": "sgd"}

OPTIMIZERS: Registry[Optimizer] = Registry(
    "optimizer", _OTHER_NAMES, lambda optimizer: _check_own(optimizer)
)

T = TypeVar("T", bound="type[Optimizer]")

_SHARED = """\
weight_decay : float, Schedule or callable, default {weight_decay}
    Decoupled decay: before each step, weights are multiplied by 1 - learning_rate * weight_decay;
    biases are not. Like the learning rate, it may follow a schedule.
clip_norm : float, optional
    Maximum Euclidean norm of the whole gradient; a larger gradient is scaled down to it.
factors : mapping of str to float or Factor, optional
    Learning-rate factors by parameter name, with wildcards: ``{{"*.b": 0.1, "0.W": 6.0}}``.
    Later entries win. A `Factor` also has one for the weight decay, and may follow schedules.

Raises
------
InputError
    For numbers out of range, and values that are neither a rate nor a schedule."""


def _documented(cls: T) -> T:
    """Class decorator: describe the options that all optimizers share in the class's docstring."""
    text = inspect.cleandoc(cls.__doc__ or "")
    shared = _SHARED.format(weight_decay=cls.weight_decay)
    cls.__doc__ = text.replace("{shared}", shared)
    return cls


class CustomOptimizer(Protocol):
    """An optimizer of your own: anything with this method, which updates `params` in place."""

    def step(self, params: np.ndarray, grads: np.ndarray) -> None: ...


@dataclass
class _Progress:
    """An optimizer's progress with one array in a user's own training loop."""

    owner: weakref.ref[np.ndarray]
    state: np.ndarray
    n_steps: int = 0


@checked_keywords
@dataclass(frozen=True)
class Factor:
    """Factors of a parameter group for the learning rate and the weight decay.

    Parameters
    ----------
    rate : float, Schedule or callable, default 1.0
        Factor of the learning rate.
    decay : float, Schedule or callable, optional
        Factor of the weight decay; by default 1 for weights and 0 for biases.

    Raises
    ------
    InputError
        For numbers below 0, and values that are neither a number nor a schedule.

    Notes
    -----
    Schedules give the factor at each step, counted from 0, like those of learning rates. Before a
    step, the parameters of a group are multiplied by 1 - learning_rate rate weight_decay decay.

    Examples
    --------
    >>> from fastmlp import Adam, Dense, Factor, Network, schedules
    >>> factors = {"0.*": Factor(schedules.Linear(0.0, 1.0), decay=2.0), "*.b": 0.5}
    >>> net = Network([Dense(1, 4), Dense(1)], loss="mean_squared_error")
    >>> optimizer = Adam(0.05, weight_decay=1e-4, factors=factors)
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], optimizer=optimizer, epochs=300)
    >>> net.predict([[3.0]]).round()
    array([7.], dtype=float32)
    """

    rate: Any = 1.0
    decay: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", number_or_schedule("Factor", "rate", self.rate))
        if self.decay is not None:
            object.__setattr__(self, "decay", number_or_schedule("Factor", "decay", self.decay))

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedules that it follows, if any."""
        return tuple(value for value in (self.rate, self.decay) if isinstance(value, Schedule))


_PLAIN = Factor()


@_documented
@dataclass(frozen=True)
class Optimizer:
    """Base of all optimizers whose step is one rule for each parameter.

    Your own optimizer derives from this as a frozen dataclass with the rule's numbers as fields,
    and sets `name` and `kernel = compiled_optimizer(rule, ...)`; it then runs in the compiled loop.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.001
        Step size, or what gives it for each step (see `fastmlp.optim.schedules`).
    {shared}

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from fastmlp import Optimizer, compiled_optimizer
    >>> def lion(p, g, mean, rate, h):
    ...     step = np.sign(h.beta1 * mean + (1 - h.beta1) * g)
    ...     return p - rate * step, h.beta2 * mean + (1 - h.beta2) * g
    >>> @dataclass(frozen=True)
    ... class Lion(Optimizer):
    ...     name = "lion"
    ...     kernel = compiled_optimizer(lion, n_states=1, numbers=("beta1", "beta2"))
    ...     beta1: float = 0.9
    ...     beta2: float = 0.99
    >>> params = np.zeros(2)
    >>> Lion(0.5).step(params, np.array([3.0, -4.0]))
    >>> params
    array([-0.5,  0.5])
    """

    name: ClassVar[str]
    kernel: ClassVar[kernels.Optimizer]
    # Whether a step stays the same if all gradients are multiplied by a number.
    ignores_gradient_scale: ClassVar[bool] = True

    learning_rate: Any = 1e-3
    weight_decay: Any = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    factors: Mapping[str, float | Factor] | None = field(default=None, kw_only=True)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_declared(cls, UPDATE, "compiled_optimizer")

    def __post_init__(self) -> None:
        where = type(self).__name__
        object.__setattr__(self, "learning_rate", schedule_of(self.learning_rate))
        decay = number_or_schedule(where, "weight_decay", self.weight_decay)
        object.__setattr__(self, "weight_decay", decay)
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
            if not isinstance(factor, Factor):
                checks.number(where, f"factors[{pattern!r}]", factor, 0)
        if type(self).rule_numbers is Optimizer.rule_numbers and hasattr(self, "kernel"):
            for name in self.kernel.names._fields:
                if not hasattr(self, name):
                    raise InputTypeError(
                        where, f"a field {name!r}, which its rule reads", "none",
                        f"write {name}: float = ... in a frozen dataclass",
                    )  # fmt: skip

    def _check(self, **bounds: tuple[float, float]) -> None:
        for name, (low, high) in bounds.items():
            checks.number(type(self).__name__, name, getattr(self, name), low, high, high_open=True)

    @property
    def schedule(self) -> Schedule:
        """The schedule of the learning rate."""
        rate: Schedule = self.learning_rate
        return rate

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """All schedules: that of the learning rate, and those of the weight decay and of groups."""
        given = (self.factors or {}).values()
        of_groups = [factor.schedules for factor in given if isinstance(factor, Factor)]
        decay = [self.weight_decay] if isinstance(self.weight_decay, Schedule) else []
        return (self.schedule, *decay, *itertools.chain.from_iterable(of_groups))

    @property
    def plans_factors(self) -> bool:
        """Whether the factors of some group change from step to step."""
        if not self.factors:
            return False
        given = self.factors.values()
        return any(isinstance(factor, Factor) and factor.schedules for factor in given)

    @property
    def kernel_of_step(self) -> kernels.Optimizer:
        """The kernel: the one for factors that follow schedules if there are any."""
        return self.kernel.by_schedule if self.plans_factors else self.kernel

    @property
    def n_vectors(self) -> int:
        """Vectors of state, each as long as the parameters."""
        return self.kernel.n_states

    def initial_state(self, n_params: int, dtype: np.dtype) -> np.ndarray:
        """The optimizer's state before the first step.

        Parameters
        ----------
        n_params : int
            Parameters of the network.
        dtype : numpy dtype
            Type of the parameters.

        Returns
        -------
        ndarray of shape (n_vectors * n_params,)
            Zeros.
        """
        return aligned_zeros(self.n_vectors * n_params, dtype)

    def step_numbers(
        self,
        first_step: int,
        rates: np.ndarray,
        n_steps: int | None = None,
        groups: Sequence[Group] = (),
    ) -> np.ndarray:
        """Hyperparameters of consecutive steps, as the kernels read them.

        Parameters
        ----------
        first_step : int
            Number of the first step, counted from 0.
        rates : ndarray of shape (n,)
            Their learning rates, float64.
        n_steps : int, optional
            Steps of the whole run, for schedules of weight decay and factors; by default it ends
            with these.
        groups : sequence of Group, default ()
            The groups of the network, if their factors follow schedules.

        Returns
        -------
        ndarray of shape (n, n_columns(groups))
            One row per step, float64.
        """
        steps = np.arange(first_step, first_step + rates.size)
        in_all = first_step + rates.size if n_steps is None else n_steps
        table = np.zeros((rates.size, self.n_columns(groups)))
        table[:, kernels.DECAY] = rates * values_of(self.weight_decay, steps, in_all)
        table[:, kernels.RATE], own = self.rule_numbers(rates, steps + 1.0)
        for column, numbers in enumerate(own, kernels.DECAY + 1):
            table[:, column] = numbers
        if self.plans_factors:
            factors = [pair for factor in self._factors_of(groups) for pair in factor]
            known = {id(value): value for value, _ in factors}  # a schedule is asked once
            found = {key: values_of(value, steps, in_all) for key, value in known.items()}
            for column, (value, shift) in enumerate(factors, self.n_numbers):
                table[:, column] = found[id(value)] * shift
        return table

    def numbers_at(
        self, where: str, step: int, n_steps: int | None, groups: Sequence[Group], count: int = 1
    ) -> np.ndarray:
        """Hyperparameters of the next steps in a user's own training loop.

        Parameters
        ----------
        where : str
            Name of the loop in errors.
        step : int
            Number of the first of these steps, counted from 0.
        n_steps : int or None
            Steps of the whole loop, if known.
        groups : sequence of Group
            Those of the network.
        count : int, default 1
            For how many steps.

        Returns
        -------
        ndarray of shape (count, n_columns(groups))
            As from `step_numbers`.

        Raises
        ------
        InputError
            If a schedule needs `n_steps` and it is None.
        """
        need_n_steps(where, self.schedules, n_steps)
        in_all = n_steps or step + count
        rates = rates_of(self.schedule, step + np.arange(count), in_all)
        return self.step_numbers(step, rates, in_all, groups)

    @property
    def n_numbers(self) -> int:
        """Hyperparameters of a step: the rate, the decay and those of the rule."""
        return kernels.DECAY + 1 + len(self.kernel.names._fields)

    def n_columns(self, groups: Sequence[Group]) -> int:
        """Numbers of a step: its hyperparameters and, if they follow schedules, factors of groups.

        Parameters
        ----------
        groups : sequence of Group
            Those of the network.

        Returns
        -------
        int
            Columns of `step_numbers`.
        """
        return self.n_numbers + 2 * len(groups) * self.plans_factors

    def rule_numbers(self, rates: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...]]:
        """Hyperparameters of the rule at some steps: by default the fields of the same names.

        Parameters
        ----------
        rates : ndarray of shape (n,)
            Learning rates of the steps.
        t : ndarray of shape (n,)
            Numbers of the steps, counted from 1.

        Returns
        -------
        rates : ndarray of shape (n,)
            The rates for the rule.
        numbers : tuple of float or ndarray of shape (n,)
            The rule's own hyperparameters, in the order of their names.
        """
        return rates, tuple(getattr(self, name) for name in self.kernel.names._fields)

    def group_factors(self, groups: Sequence[Group]) -> list[tuple[float, float]]:
        """Learning-rate and decay factor of each group of parameters, as the kernel reads them.

        Parameters
        ----------
        groups : sequence of Group
            Those of the network.

        Returns
        -------
        list of (float, float)
            In the order of the groups. If some follow schedules, each pair is instead the first of
            the group's two columns in `step_numbers`, and 0.

        Raises
        ------
        InputError
            If an entry of `factors` fits no group.
        """
        found = self._factors_of(groups)
        if self.plans_factors:
            return [(float(self.n_numbers + 2 * place), 0.0) for place in range(len(groups))]
        return [(rate * shift, decay * back) for (rate, shift), (decay, back) in found]

    def _entries_of(self, groups: Sequence[Group]) -> list[Factor]:
        """The factor of each group, by the last entry of `factors` that fits it."""
        if not self.factors:
            return [_PLAIN] * len(groups)
        entries = dict.fromkeys((group.name for group in groups), _PLAIN)
        for pattern, factor in self.factors.items():
            hits = fnmatch.filter(entries, pattern)
            if not hits:
                names = ", ".join(entries)
                raise InputError(
                    type(self).__name__,
                    f"factors for some of {names}",
                    repr(pattern),
                    "use a name or a pattern such as '*.b'",
                )
            entry = factor if isinstance(factor, Factor) else Factor(factor)
            entries.update(dict.fromkeys(hits, entry))
        return [entries[group.name] for group in groups]

    def _factors_of(self, groups: Sequence[Group]) -> list[list[tuple[Any, float]]]:
        """Rate and decay of each group, each with the factor of the parametrisation."""
        found = []
        for group, entry in zip(groups, self._entries_of(groups), strict=True):
            shift = group.scale if self.ignores_gradient_scale else group.scale**2
            decay = float(group.is_weight) if entry.decay is None else entry.decay
            rate = entry.rate if isinstance(entry.rate, Schedule) else float(entry.rate)
            found.append([(rate, shift), (decay, 1.0 / shift)])
        return found

    def step(self, params: np.ndarray, grads: np.ndarray, n_steps: int | None = None) -> None:
        """One step in your own training loop: updates `params` in place.

        The optimizer counts steps and keeps its state for each array of parameters, for as long as
        the array's memory exists; a copy of the optimizer starts from zero. In a network's
        `params`, or views of whole layers, it can tell weights from biases, so `weight_decay`,
        `factors` and the layers' `max_norm` work as in `Network.fit`. Any other array is one group
        of weights with the name "params".

        Parameters
        ----------
        params : ndarray of any shape
            Parameters, float32 or float64, contiguous and writeable: `net.params`.
        grads : ndarray of shape as params
            Their gradient, in the same dtype, contiguous: `net.grads`.
        n_steps : int, optional
            Steps of the whole loop, for schedules that depend on it.

        Raises
        ------
        InputError
            For arrays that cannot be used, and if a schedule needs `n_steps` and it is missing.

        Examples
        --------
        >>> import numpy as np
        >>> from fastmlp import Adam, Dense, Network
        >>> X, y = np.linspace(-1, 1, 20).reshape(-1, 1), np.linspace(1, 3, 20)
        >>> net, optimizer = Network([Dense(1)], "mse"), Adam(0.1)
        >>> for _ in range(200):
        ...     loss, gradient = net.loss_and_gradient(X, y)
        ...     optimizer.step(net.params, net.grads)
        >>> net.predict([[0.0]]).round(2)
        array([2.], dtype=float32)
        """
        where = f"{type(self).__name__}.step"
        checks.to_update(where, params, grads)
        if n_steps is not None:
            checks.whole_number(where, "n_steps", n_steps, 1)
        groups = groups_of(params)
        progress = self._progress_with(params)
        numbers = self.numbers_at(where, progress.n_steps, n_steps, groups)[0]
        gradient = grads if self.clip_norm is None else grads.copy()
        control = flush_denormals()
        try:
            self.update(numbers, groups, params, gradient, progress.state)
            _limit_norms(groups, params)
        finally:
            restore_denormals(control)
        progress.n_steps += 1

    def _progress_with(self, params: np.ndarray) -> _Progress:
        """The state for an array, looked up by its memory: each call may pass a new view."""
        kept: dict[Any, _Progress] = self.__dict__.setdefault("_kept", {})
        place = address_of(params, "params", params.dtype, params.size, written=True)
        owner, key = owner_of(params), (place, params.size, params.dtype)
        found = kept.get(key)
        if found is None or found.owner() is not owner:
            state = self.initial_state(params.size, params.dtype)
            found = _Progress(weakref.ref(owner, lambda _: kept.pop(key, None)), state)
            kept[key] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Only hyperparameters: a copy has no state for any array."""
        return {key: value for key, value in self.__dict__.items() if key != "_kept"}

    def update(
        self,
        numbers: np.ndarray,
        groups: Sequence[Group],
        params: np.ndarray,
        grads: np.ndarray,
        state: np.ndarray,
    ) -> None:
        """One step, in place.

        Parameters
        ----------
        numbers : ndarray of shape (n_columns(groups),)
            A row of `step_numbers`.
        groups : sequence of Group
            Those of the network.
        params, grads : ndarray of shape (n_params,)
            Parameters, which are updated, and their gradient, which is clipped.
        state : ndarray of shape (n_vectors * n_params,)
            The optimizer's state, which is updated.
        """
        if self.clip_norm is not None:
            n, one = grads.size, grads.dtype.type(1)
            gradient = address_of(grads, "grads", grads.dtype, n, written=True)
            scale = kernels.clip_factor(n, gradient, float(self.clip_norm), one)
            if scale != 1:
                kernels.rescale(n, gradient, scale, one)
        self.update_groups(numbers, groups, params, grads, state)

    def update_groups(
        self,
        numbers: np.ndarray,
        groups: Sequence[Group],
        params: np.ndarray,
        grads: np.ndarray,
        state: np.ndarray,
    ) -> None:
        """One step of some of the parameters, by gradients that have been clipped, in place.

        Parameters
        ----------
        numbers : ndarray of shape (n_columns(groups),)
            A row of `step_numbers`.
        groups : sequence of Group
            All groups of the network, each with the part of it that is to be updated.
        params, grads : ndarray of shape (n_params,)
            Parameters, which are updated, and their gradient.
        state : ndarray of shape (n_vectors * n_params,)
            The optimizer's state, which is updated.
        """
        n, dtype, one = params.size, params.dtype, params.dtype.type(1)
        _check_groups(groups, n)
        values = address_of(params, "params", dtype, n, written=True)
        gradient = address_of(grads, "grads", dtype, n, written=True)
        memory = address_of(state, "the optimizer's state", dtype, self.n_vectors * n, written=True)
        row = address_of(numbers, "numbers of a step", np.float64, self.n_columns(groups))
        for group, (rate, decay) in zip(groups, self.group_factors(groups), strict=True):
            self.kernel_of_step(
                row, Factors(float(rate), float(decay)), Run(group.start, 1, group.size, 0),
                Memory(values, memory, n), gradient + group.start * params.itemsize, 0, one,
            )  # fmt: skip


def _check_groups(groups: Sequence[Group], n_params: int) -> None:
    """Refuse groups that are not inside the parameters."""
    for group in groups:
        if not 0 <= group.start <= group.start + group.size <= n_params:
            raise InputError(
                f"group {group.name!r}", f"a part of {n_params} parameters",
                f"{group.size} from {group.start} on", "pass the groups of the same network",
            )  # fmt: skip


def _limit_norms(groups: list[Group], params: np.ndarray) -> None:
    """Apply `Dense.max_norm` after a step."""
    one = params.dtype.type(1)
    for group in groups:
        if group.max_norm is not None:
            start = address_of(params, "params", params.dtype, params.size, written=True)
            address, n_out = start + group.start * params.itemsize, group.n_columns
            limit, n_in = float(group.max_norm), group.size // n_out
            kernels.limit_columns(address, n_in, n_out, 0, n_out, limit, one)


def has_rule(optimizer: object) -> TypeGuard[Optimizer]:
    """Whether it steps by a rule, as opposed to a class that overrides `step`."""
    return isinstance(optimizer, Optimizer) and type(optimizer).step is Optimizer.step


def optimizer_of(value: Any) -> Any:
    """An optimizer from a name, one of fastmlp's, or a user's object with a method `step`."""
    is_plain = type(value).__module__ in ("builtins", "numpy")
    if is_plain or isinstance(value, type | Optimizer):
        made: Optimizer = OPTIMIZERS.make(value, Optimizer)
        return made
    step, where = getattr(value, "step", None), f"{type(value).__name__}.step"
    if not callable(step):
        got = "none" if step is None else type(step).__name__
        raise InputTypeError(where, "a method", got, "define step(self, params, grads)")
    checks.takes(where, "a method", step, "params", "grads")
    return value


def _check_own(optimizer: Optimizer) -> None:
    """A class derived from `Optimizer` needs a rule."""
    if has_rule(optimizer) and not hasattr(optimizer, "kernel"):
        raise InputTypeError(
            type(optimizer).__name__, "a method step(params, grads)", "none",
            "define it, or derive from an optimizer that has a rule, such as Adam",
        )  # fmt: skip
    checks.takes(f"{type(optimizer).__name__}.step", "a method", optimizer.step, "params", "grads")


@OPTIMIZERS.register
@_documented
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with or without momentum.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.01
        Step size, or what gives it for each step.
    momentum : float in [0, 1), default 0
        Fraction of the previous step that is added to the next.
    nesterov : bool, default False
        Whether to use Nesterov's momentum, which looks one velocity ahead.
    {shared}

    Notes
    -----
    v <- momentum v - learning_rate g and p <- p + v, or p <- p + momentum v - learning_rate g by
    Nesterov, as Sutskever et al. write it.

    References
    ----------
    Robbins and Monro, "A stochastic approximation method", Annals of Mathematical Statistics 22,
    1951.

    Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Computational
    Mathematics and Mathematical Physics 4, 1964.

    Nesterov, "A method of solving a convex programming problem with convergence rate O(1/k^2)",
    Soviet Mathematics Doklady 27, 1983.

    Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep
    learning", ICML 2013.

    Examples
    --------
    >>> from fastmlp import Dense, Network, SGD
    >>> net = Network([Dense(1, 1)], loss="mean_squared_error")
    >>> optimizer = SGD(0.1, momentum=0.9)
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], optimizer=optimizer, epochs=300)
    >>> net.predict([[3.0]]).round(1)
    array([7.], dtype=float32)
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
    def kernel(self) -> kernels.Optimizer:  # type: ignore[override]
        """With momentum or without."""
        if self.momentum > 0:
            return kernels.optimizer(kernels.momentum, 1, kernels.MomentumNumbers)
        return kernels.optimizer(kernels.sgd, 0)

    def rule_numbers(self, rates: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...]]:
        if self.momentum > 0:
            return rates, kernels.MomentumNumbers(self.momentum, self.nesterov)
        return rates, kernels.NoNumbers()


@OPTIMIZERS.register
@_documented
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Divides steps by the root of a running mean of squared gradients.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.001
        Step size, or what gives it for each step.
    rho : float in [0, 1), default 0.9
        Weight of the past in the running mean.
    epsilon : float, default 1e-8
        Added to the root, so that no step is divided by 0.
    {shared}

    Notes
    -----
    s <- rho s + (1 - rho) g^2 and p <- p - learning_rate g / (sqrt(s) + epsilon).

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5: RMSProp", Coursera, Neural Networks for Machine Learning,
    2012.

    Examples
    --------
    >>> from fastmlp import Dense, Network, RMSprop, schedules
    >>> net = Network([Dense(1, 1)], loss="mean_squared_error")
    >>> optimizer = RMSprop(schedules.Linear(0.1))
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], optimizer=optimizer, epochs=300)
    >>> net.predict([[3.0]]).round(1)
    array([7.], dtype=float32)
    """

    name: ClassVar[str] = "rmsprop"
    kernel: ClassVar[kernels.Optimizer] = kernels.optimizer(
        kernels.rmsprop, 1, kernels.RMSpropNumbers
    )
    rho: float = 0.9
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(rho=(0, 1), epsilon=(0, np.inf))

    def rule_numbers(self, rates: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...]]:
        return rates, kernels.RMSpropNumbers(self.rho, self.epsilon, 1.0 - self.rho)


@OPTIMIZERS.register
@_documented
@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Divides steps by the root of the sum of all squared gradients.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.01
        Step size, or what gives it for each step.
    epsilon : float, default 1e-10
        Added to the root, so that no step is divided by 0.
    {shared}

    Notes
    -----
    s <- s + g^2 and p <- p - learning_rate g / (sqrt(s) + epsilon).

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, 2011.

    Examples
    --------
    >>> from fastmlp import Adagrad, Dense, Network
    >>> net = Network([Dense(1, 1)], loss="mean_squared_error")
    >>> optimizer = Adagrad(1.0)
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], optimizer=optimizer, epochs=300)
    >>> net.predict([[3.0]]).round(1)
    array([7.], dtype=float32)
    """

    name: ClassVar[str] = "adagrad"
    kernel: ClassVar[kernels.Optimizer] = kernels.optimizer(
        kernels.adagrad, 1, kernels.AdagradNumbers
    )
    learning_rate: Any = 1e-2
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(epsilon=(0, np.inf))

    def rule_numbers(self, rates: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...]]:
        return rates, kernels.AdagradNumbers(self.epsilon)


def _bias_correction(beta: float, t: np.ndarray) -> np.ndarray:
    """1 - beta^t for ascending t; powers below 2^-54 vanish beside 1 and are not computed."""
    last_needed = -54 / math.log2(beta) if beta > 0 else 0.0
    if t.size == 0 or t[-1] <= last_needed:
        return np.asarray(1.0 - beta**t)
    found = np.ones_like(t)
    n_needed = np.searchsorted(t, last_needed, side="right")
    found[:n_needed] -= beta ** t[:n_needed]
    return found


@OPTIMIZERS.register
@_documented
@dataclass(frozen=True)
class Adam(Optimizer):
    """Divides a running mean of gradients by the root of a running mean of their squares.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.001
        Step size, or what gives it for each step.
    beta1, beta2 : float in [0, 1), default 0.9 and 0.999
        Weights of the past in the running means of g and g^2.
    epsilon : float, default 1e-8
        Added to the root, so that no step is divided by 0.
    epsilon_hat : bool, default False
        Add epsilon before the bias corrections, which weakens it in early steps: the variant at the
        end of the paper's Section 2, which scikit-learn and Keras use.
    {shared}

    Notes
    -----
    m <- beta1 m + (1 - beta1) g and v <- beta2 v + (1 - beta2) g^2, and at step t = 1, 2, ...
    p <- p - learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), which is
    Algorithm 1 of the paper.

    References
    ----------
    Kingma and Ba, "Adam: A method for stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> from fastmlp import Adam, Dense, Network, schedules
    >>> net = Network([Dense(1, 1)], loss="mean_squared_error")
    >>> optimizer = Adam(schedules.Linear(0.3))
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], optimizer=optimizer, epochs=300)
    >>> net.predict([[3.0]]).round(1)
    array([7.], dtype=float32)
    """

    name: ClassVar[str] = "adam"
    kernel: ClassVar[kernels.Optimizer] = kernels.optimizer(kernels.adam, 2, kernels.AdamNumbers)
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_hat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(beta1=(0, 1), beta2=(0, 1), epsilon=(0, np.inf))

    def rule_numbers(self, rates: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...]]:
        # m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), with the corrections taken out of the
        # loop over parameters.
        root = np.sqrt(_bias_correction(self.beta2, t))
        epsilon = self.epsilon if self.epsilon_hat else self.epsilon * root
        numbers = kernels.AdamNumbers(
            self.beta1, self.beta2, epsilon, 1.0 - self.beta1, 1.0 - self.beta2
        )
        return rates * (root / _bias_correction(self.beta1, t)), numbers


@OPTIMIZERS.register
@_documented
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay by default.

    Parameters
    ----------
    learning_rate : float, Schedule or callable, default 0.001
        Step size, or what gives it for each step.
    beta1, beta2 : float in [0, 1), default 0.9 and 0.999
        As for `Adam`.
    epsilon : float, default 1e-8
        As for `Adam`.
    epsilon_hat : bool, default False
        As for `Adam`.
    {shared}

    Notes
    -----
    p <- (1 - learning_rate weight_decay) p for weights, then a step of `Adam`.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> from fastmlp import AdamW, Dense, Network, schedules
    >>> net = Network([Dense(1, 1)], loss="mean_squared_error")
    >>> optimizer = AdamW(schedules.Linear(0.3), weight_decay=1e-3)
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], optimizer=optimizer, epochs=300)
    >>> net.predict([[3.0]]).round(1)
    array([7.], dtype=float32)
    """

    name: ClassVar[str] = "adamw"
    weight_decay: float = field(default=0.01, kw_only=True)
