"""Learning-rate schedules: the rate of each step, given its number and the total number of steps.

A schedule is a small frozen object; `rates` computes all steps of an epoch in one call. Anything
callable as `f(step, n_steps)` is also a schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, InputTypeError
from ..inputs import checks
from ..registry import Registry, checked_keywords

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "FlatCosine",
    "FromFunction",
    "InverseScaling",
    "Linear",
    "LogCosine",
    "OneCycle",
    "Schedule",
    "Step",
    "WarmUp",
]

_OTHER_NAMES = {
    **dict.fromkeys(("cosine_annealing", "cosine_decay", "cosine_annealing_lr"), "cosine"),
    **dict.fromkeys(("exponential_decay", "exponential_lr", "exp"), "exponential"),
    **dict.fromkeys(("linear_decay", "linear_lr"), "linear"),
    **dict.fromkeys(("step_decay", "step_lr"), "step"),
    **dict.fromkeys(("invscaling", "inverse_sqrt"), "inverse_scaling"),
    "flat_cos": "flat_cosine",
    **dict.fromkeys(("coslog", "coslog4"), "log_cosine"),
    "one_cycle_lr": "one_cycle",
    "constant_lr": "constant",
}

SCHEDULES: Registry[Schedule] = Registry(
    "schedule", _OTHER_NAMES, lambda schedule: _check_own(schedule)
)


class Schedule:
    """Base of all schedules; derive from it and define `rates` to add one.

    In the formulas of the built-in ones, `progress` is step / n_steps, from 0 towards 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> class Halved(schedules.Schedule):
    ...     def rates(self, steps, n_steps):
    ...         return np.where(steps < n_steps / 2, 0.1, 0.05)
    >>> Halved().rates(np.array([0, 5]), 10)
    array([0.1 , 0.05])
    """

    name: ClassVar[str]

    @property
    def plans_all_steps(self) -> bool:
        """Whether rates depend on the total number of steps."""
        return True

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        """Learning rates of some steps of a run.

        Parameters
        ----------
        steps : ndarray of shape (n,)
            Numbers of the steps, counted from 0.
        n_steps : int
            Number of steps in the whole run.

        Returns
        -------
        ndarray of shape (n,)
            Float64, at least 0.
        """
        raise NotImplementedError

    def _check(self, **bounds: tuple[float, float]) -> None:
        for field, (low, high) in bounds.items():
            checks.number(type(self).__name__, field, getattr(self, field), low, high)


def progress(steps: np.ndarray, n_steps: int) -> np.ndarray:
    """Fraction of the run that is over when each step begins, from 0 towards 1."""
    return np.minimum(steps / max(n_steps, 1), 1.0)


@SCHEDULES.register
@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate at every step.

    Parameters
    ----------
    learning_rate : float, default 0.001
        The rate.

    Raises
    ------
    InputError
        For numbers out of range.

    Notes
    -----
    rate = learning_rate.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.Constant(0.1).rates(np.arange(3), 3)
    array([0.1, 0.1, 0.1])
    """

    name: ClassVar[str] = "constant"
    plans_all_steps = False
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        self._check(learning_rate=(0, np.inf))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        rates = np.empty(steps.shape)
        rates.fill(float(self.learning_rate))  # sooner than `np.full`, and most fits begin with it
        return rates


@SCHEDULES.register
@dataclass(frozen=True)
class Step(Schedule):
    """Drops at regular intervals.

    Parameters
    ----------
    start : float, default 0.001
        The first rate.
    factor : float in [0, 1], default 0.1
        Factor of the rate at each drop.
    n_drops : int, default 2
        Number of drops; they divide the run into n_drops + 1 equal parts.

    Raises
    ------
    InputError
        For numbers out of range.

    Notes
    -----
    rate = start factor^k, with k = floor(progress (n_drops + 1)), at most n_drops.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.Step(1.0).rates(np.arange(6), 6)
    array([1.  , 1.  , 0.1 , 0.1 , 0.01, 0.01])
    """

    name: ClassVar[str] = "step"
    start: float = 1e-3
    factor: float = 0.1
    n_drops: int = 2

    def __post_init__(self) -> None:
        self._check(start=(0, np.inf), factor=(0, 1))
        checks.whole_number("Step", "n_drops", self.n_drops, 0)

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        drops = np.floor(progress(steps, n_steps) * (self.n_drops + 1))
        return self.start * self.factor ** np.minimum(drops, self.n_drops)


@SCHEDULES.register
@dataclass(frozen=True)
class Exponential(Schedule):
    """Decreases by the same factor at every step.

    Parameters
    ----------
    start : float, default 0.001
        The first rate.
    end_factor : float in [0, 1], default 0.01
        Fraction of the first rate that is left at the end.

    Raises
    ------
    InputError
        For numbers out of range.

    Notes
    -----
    rate = start end_factor^progress.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.Exponential(1.0).rates(np.array([0, 5]), 10)
    array([1. , 0.1])
    """

    name: ClassVar[str] = "exponential"
    start: float = 1e-3
    end_factor: float = 0.01

    def __post_init__(self) -> None:
        self._check(start=(0, np.inf), end_factor=(0, 1))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        return self.start * self.end_factor ** progress(steps, n_steps)


@SCHEDULES.register
@dataclass(frozen=True)
class InverseScaling(Schedule):
    """Decreases with a power of the step number, independently of the run's length.

    Parameters
    ----------
    start : float, default 0.001
        The first rate.
    power : float, default 0.5
        Exponent, at least 0.

    Raises
    ------
    InputError
        For numbers out of range.

    Notes
    -----
    rate = start / (1 + step)^power. It is scikit-learn's `invscaling`, but counts steps instead of
    samples.

    References
    ----------
    Robbins and Monro, "A stochastic approximation method", Annals of Mathematical Statistics 22,
    1951 (power 1).

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.InverseScaling(1.0).rates(np.array([0, 3]), 10)
    array([1. , 0.5])
    """

    name: ClassVar[str] = "inverse_scaling"
    plans_all_steps = False
    start: float = 1e-3
    power: float = 0.5

    def __post_init__(self) -> None:
        self._check(start=(0, np.inf), power=(0, np.inf))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        return self.start / (1.0 + steps) ** self.power


@SCHEDULES.register
@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from start to end.

    Parameters
    ----------
    start : float, default 0.001
        The first rate.
    end : float, default 0
        The rate that is reached when the run is over.

    Raises
    ------
    InputError
        For numbers out of range.

    Notes
    -----
    rate = start + (end - start) progress.

    References
    ----------
    Li, Yumer and Ramanan, "Budgeted training: Rethinking deep neural network training under
    resource constraints", ICLR 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.Linear(1.0).rates(np.arange(4), 4)
    array([1.  , 0.75, 0.5 , 0.25])
    """

    name: ClassVar[str] = "linear"
    start: float = 1e-3
    end: float = 0.0

    def __post_init__(self) -> None:
        self._check(start=(0, np.inf), end=(0, np.inf))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        return self.start + (self.end - self.start) * progress(steps, n_steps)


@SCHEDULES.register
@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine wave.

    Parameters
    ----------
    start : float, default 0.001
        The first rate.
    end : float, default 0
        The rate that is reached when the run is over.

    Raises
    ------
    InputError
        For numbers out of range.

    Notes
    -----
    rate = end + (start - end) (1 + cos(pi progress)) / 2, without restarts.

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.Cosine(1.0).rates(np.arange(4), 4).round(3)
    array([1.   , 0.854, 0.5  , 0.146])
    """

    name: ClassVar[str] = "cosine"
    start: float = 1e-3
    end: float = 0.0

    def __post_init__(self) -> None:
        self._check(start=(0, np.inf), end=(0, np.inf))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        return _half_wave(self.start, self.end, progress(steps, n_steps))


@SCHEDULES.register
@dataclass(frozen=True)
class FlatCosine(Schedule):
    """Constant at first, then half a cosine wave.

    Parameters
    ----------
    start : float, default 0.001
        The first rate.
    end : float, default 0
        The rate that is reached when the run is over.
    flat : float in [0, 1], default 0.5
        Fraction of the run with the first rate.

    Raises
    ------
    InputError
        For numbers out of range.

    Notes
    -----
    rate = start while progress < flat, then end + (start - end) (1 + cos(pi u)) / 2 with
    u = (progress - flat) / (1 - flat).

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart, "Better by default: Strong pre-tuned MLPs and boosted
    trees on tabular data", NeurIPS 2024, for dropout and weight decay.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.FlatCosine(1.0).rates(np.arange(4), 4).round(3)
    array([1. , 1. , 1. , 0.5])
    """

    name: ClassVar[str] = "flat_cosine"
    start: float = 1e-3
    end: float = 0.0
    flat: float = 0.5

    def __post_init__(self) -> None:
        self._check(start=(0, np.inf), end=(0, np.inf), flat=(0, 1))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        done = np.maximum(progress(steps, n_steps) - self.flat, 0.0) / max(1.0 - self.flat, 1e-12)
        return _half_wave(self.start, self.end, done)


def _half_wave(start: float, end: float, done: np.ndarray) -> np.ndarray:
    """Half a cosine wave from `start` where nothing is done to `end` where all (1) is."""
    return end + (start - end) * (0.5 * (1.0 + np.cos(np.pi * done)))


@SCHEDULES.register
@dataclass(frozen=True)
class LogCosine(Schedule):
    """Cosine waves from 0 to a peak and back, each twice as long as the one before.

    Parameters
    ----------
    peak : float, default 0.01
        The largest rate.
    n_cycles : int, default 4
        How many waves.

    Raises
    ------
    InputError
        For numbers out of range.

    Notes
    -----
    rate = peak (1 - cos(2 pi log2(1 + (2^n_cycles - 1) t))) / 2 with t = (step + 1/2) / n_steps, in
    the middle of the step, so that no step has rate 0.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart, "Better by default: Strong pre-tuned MLPs and boosted
    trees on tabular data", NeurIPS 2024, where t is the beginning of the step.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.LogCosine(1.0, n_cycles=2).rates(np.arange(6), 6).round(2)
    array([0.72, 0.32, 0.26, 0.98, 0.65, 0.08])
    """

    name: ClassVar[str] = "log_cosine"
    peak: float = 1e-2
    n_cycles: int = 4

    def __post_init__(self) -> None:
        self._check(peak=(0, np.inf))
        checks.whole_number("LogCosine", "n_cycles", self.n_cycles, 1, 64)

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        cycles = np.log2(1.0 + (2.0**self.n_cycles - 1.0) * progress(steps + 0.5, n_steps))
        return self.peak * 0.5 * (1.0 - np.cos(2.0 * np.pi * cycles))


@SCHEDULES.register
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Rises to a peak and falls again, both along half a cosine.

    Parameters
    ----------
    peak : float, default 0.01
        The largest rate.
    rise : float in [0, 1], default 0.3
        Fraction of the run after which the peak is reached.

    Raises
    ------
    InputError
        For numbers out of range.

    Notes
    -----
    rate = a + (peak - a) (1 - cos(pi u)) / 2 with a = peak / 25 and u = progress / rise during the
    rise, then b + (peak - b) (1 + cos(pi v)) / 2 with b = peak / 10,000 and
    v = (progress - rise) / (1 - rise).

    References
    ----------
    Smith and Topin, "Super-convergence: Very fast training of neural networks using large learning
    rates", SPIE 11006, 2019, where rise and fall are linear.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.OneCycle(1.0, rise=0.25).rates(np.arange(4), 4).round(3)
    array([0.04, 1.  , 0.75, 0.25])
    """

    name: ClassVar[str] = "one_cycle"
    peak: float = 1e-2
    rise: float = 0.3

    def __post_init__(self) -> None:
        self._check(peak=(0, np.inf), rise=(0, 1))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        done = progress(steps, n_steps)
        start, end = self.peak / 25, self.peak / 10_000
        up = 0.5 * (1 - np.cos(np.pi * done / max(self.rise, 1e-12)))
        down = 0.5 * (1 + np.cos(np.pi * (done - self.rise) / max(1 - self.rise, 1e-12)))
        rising = start + (self.peak - start) * up
        return np.where(done < self.rise, rising, end + (self.peak - end) * down)


@SCHEDULES.register
@dataclass(frozen=True)
class WarmUp(Schedule):
    """Another schedule with rates that grow from near zero over the first steps.

    Parameters
    ----------
    schedule : float, Schedule or callable, default 0.001
        The other schedule.
    steps : int, default 100
        Number of steps until the rates are those of the other schedule.

    Raises
    ------
    InputError
        For numbers out of range.

    Notes
    -----
    rate = min((step + 1) / steps, 1) times the other schedule's.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: Training ImageNet in 1 hour", arXiv:1706.02677,
    2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.WarmUp(1.0, steps=4).rates(np.arange(5), 10)
    array([0.25, 0.5 , 0.75, 1.  , 1.  ])
    """

    name: ClassVar[str] = "warm_up"
    schedule: Any = 1e-3
    steps: int = 100

    def __post_init__(self) -> None:
        checks.whole_number("WarmUp", "steps", self.steps, 0)
        object.__setattr__(self, "schedule", schedule_of(self.schedule))

    @property
    def plans_all_steps(self) -> bool:
        return bool(self.schedule.plans_all_steps)

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        ramp = np.minimum((steps + 1.0) / max(self.steps, 1), 1.0)
        return ramp * rates_of(self.schedule, steps, n_steps)


@checked_keywords
@dataclass(frozen=True)
class FromFunction(Schedule):
    """The schedule of a function; passing the function itself as a learning rate does the same.

    Parameters
    ----------
    function : callable
        Called as `f(step, n_steps)`, with steps counted from 0; returns the rate, at least 0. Its
        results are checked during training.

    Raises
    ------
    InputError
        If it is not a function, or takes other arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import schedules
    >>> schedules.FromFunction(lambda step, n_steps: 1 / (step + 1)).rates(np.arange(2), 10)
    array([1. , 0.5])
    """

    name: ClassVar[str] = "function"
    function: Callable[[int, int], float]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InputTypeError(
                "learning_rate", "a function of (step, n_steps)", type(self.function).__name__,
                "pass a function",
            )  # fmt: skip
        checks.takes("learning_rate", "a function", self.function, "step", "n_steps")

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        found = [self.function(int(step), n_steps) for step in steps]
        for rate in found:
            is_number = hasattr(rate, "__float__") and np.ndim(rate) == 0
            if not is_number or isinstance(rate, bool | str | bytes):
                raise InputTypeError(
                    "schedule", "a function that returns numbers", type(rate).__name__,
                    "check the function you passed",
                )  # fmt: skip
        return np.array([float(rate) for rate in found])


def is_built_in(schedule: Schedule) -> bool:
    """Whether its rates do not depend on user-defined code, not even inside a `WarmUp`."""
    return type(schedule) in SCHEDULES and type(schedule) is not WarmUp


def need_n_steps(where: str, schedules: Iterable[Schedule], n_steps: int | None) -> None:
    """Refuse schedules that plan all steps of a loop whose number of steps is not known."""
    planning = [schedule for schedule in schedules if schedule.plans_all_steps]
    if n_steps is None and planning:
        raise InputError(
            where, f"n_steps, over which {type(planning[0]).__name__} plans the rates",
            "none", "pass how many steps your loop has",
        )  # fmt: skip


def rates_of(schedule: Schedule, steps: np.ndarray, n_steps: int) -> np.ndarray:
    """Results of `schedule.rates` as float64, which are checked if the schedule is user-defined."""
    if is_built_in(schedule):
        return schedule.rates(steps, n_steps)
    rates = schedule.rates(steps, n_steps)
    where = "schedule" if type(schedule) is FromFunction else f"{type(schedule).__name__}.rates"
    if np.shape(rates) != steps.shape or np.asarray(rates).dtype.kind not in "biuf":
        got = f"shape {np.shape(rates)} and type {np.asarray(rates).dtype}"
        raise InputTypeError(
            where, f"an array of shape {steps.shape} of numbers", got,
            "return one rate for each entry of steps",
        )  # fmt: skip
    found = np.asarray(rates, np.float64)
    fine = np.isfinite(found) & (found >= 0)
    if not fine.all():
        place = int(np.argmin(fine))
        raise InputError(
            where, "finite learning rates of at least 0", f"another at step {int(steps[place])}",
            "check the function you passed",
        )  # fmt: skip
    return found


def number_or_schedule(where: str, name: str, value: Any, high: float = np.inf) -> Any:
    """A number from 0 to below `high` unchanged; a schedule or function as a schedule."""
    if isinstance(value, Schedule | dict) or (callable(value) and not isinstance(value, type)):
        return schedule_of(value, f"{where}, {name}")
    checks.number(where, name, value, 0, high, high_open=high < np.inf)
    return value


def values_of(value: float | Schedule, steps: np.ndarray, n_steps: int) -> float | np.ndarray:
    """Values of a schedule of numbers at some steps, float64; a number stands for all steps."""
    return rates_of(value, steps, n_steps) if isinstance(value, Schedule) else float(value)


def _check_own(schedule: Schedule) -> None:
    """Check that a user-defined class has a method `rates`."""
    where = f"{type(schedule).__name__}.rates"
    if type(schedule).rates is Schedule.rates:
        raise InputTypeError(where, "a method", "none", "define rates(self, steps, n_steps)")
    checks.takes(where, "a method", schedule.rates, "steps", "n_steps")


def schedule_of(value: Any, name: str = "learning_rate") -> Schedule:
    """A schedule from a number (constant), a schedule, its name or a function.

    name: the argument's name in errors.
    """
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return Constant(float(value))
    if callable(value) and not isinstance(value, Schedule | type):
        return FromFunction(value)
    made: Schedule
    if isinstance(value, Schedule):
        made = SCHEDULES.make(value, Schedule)
        return made
    try:
        made = SCHEDULES.make(value, Schedule)
    except InputTypeError as error:
        advice = error.advice if isinstance(value, type) else "see fastmlp.optim.schedules"
        raise InputTypeError(
            name,
            "a number, a schedule or a function of (step, n_steps)",
            error.got,
            advice,
        ) from None
    return made


def at_rate(name: str, learning_rate: float) -> Schedule:
    """The named schedule with `learning_rate` as its highest rate and other settings by default."""
    if name == WarmUp.name:
        return WarmUp(learning_rate)
    return SCHEDULES[name](learning_rate)  # type: ignore[call-arg]
