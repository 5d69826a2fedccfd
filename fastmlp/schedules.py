"""Learning-rate schedules: the rate of every step, given the step and how many there will be.

A schedule is a small frozen object; `rates` computes all steps of an epoch at once. Anything
callable as `f(step, n_steps)` is a schedule too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from . import checks
from .errors import InputError, InputTypeError
from .registry import Registry

SCHEDULES: Registry[Schedule] = Registry("schedule")


class Schedule:
    """Base of all schedules; derive from it and define `rates` to add one.

    Examples
    --------
    >>> Linear(0.1, 0.0).rates(np.array([0, 5]), 10)
    array([0.1 , 0.05])
    """

    name: ClassVar[str]

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        """Learning rates (float64) of the steps, counted from 0, of a run of `n_steps`."""
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
    """The same rate at every step."""

    name: ClassVar[str] = "constant"
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        self._check(learning_rate=(0, np.inf))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        return np.full(steps.shape, float(self.learning_rate))


@SCHEDULES.register
@dataclass(frozen=True)
class Step(Schedule):
    """Multiply by `factor` after each of `n_drops` equal parts of the run but the last.

    With the defaults the rate is `start`, then a tenth, then a hundredth of it, for a third of the
    run each.
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
    """From `start` down by the same factor at every step, to `end_factor * start` at the end."""

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
    """start / (1 + step)^power, the steps counted from 0 (scikit-learn's `invscaling`)."""

    name: ClassVar[str] = "inverse_scaling"
    start: float = 1e-3
    power: float = 0.5

    def __post_init__(self) -> None:
        self._check(start=(0, np.inf), power=(0, np.inf))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        return self.start / (1.0 + steps) ** self.power


@SCHEDULES.register
@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from `start` to `end`."""

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
    """Half a cosine wave from `start` to `end` (Loshchilov and Hutter, 2017, without restarts)."""

    name: ClassVar[str] = "cosine"
    start: float = 1e-3
    end: float = 0.0

    def __post_init__(self) -> None:
        self._check(start=(0, np.inf), end=(0, np.inf))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        wave = 0.5 * (1.0 + np.cos(np.pi * progress(steps, n_steps)))
        return self.end + (self.start - self.end) * wave


@SCHEDULES.register
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to `peak` and down again, both along half a cosine (Smith and Topin, 2019).

    It begins at peak / 25, reaches the peak after the fraction `rise` and ends at peak / 10,000.
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
    """Another schedule, whose rates grow from near zero over the first `steps` steps."""

    name: ClassVar[str] = "warm_up"
    schedule: Any = 1e-3
    steps: int = 100

    def __post_init__(self) -> None:
        checks.whole_number("WarmUp", "steps", self.steps, 0)
        object.__setattr__(self, "schedule", schedule_of(self.schedule))

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        ramp = np.minimum((steps + 1.0) / max(self.steps, 1), 1.0)
        return ramp * self.schedule.rates(steps, n_steps)


@dataclass(frozen=True)
class FromFunction(Schedule):
    """The schedule of a user's function `f(step, n_steps) -> learning rate`."""

    name: ClassVar[str] = "function"
    function: Callable[[int, int], float]

    def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
        found = [self.function(int(step), n_steps) for step in steps]
        try:
            rates = np.array([float(rate) for rate in found])
        except (TypeError, ValueError):
            raise InputTypeError(
                "schedule", "a function that returns numbers", "one that does not",
                "check the function you passed",
            ) from None  # fmt: skip
        if not (np.isfinite(rates).all() and (rates >= 0).all()):
            step = int(steps[int(np.argmin(np.isfinite(rates) & (rates >= 0)))])
            raise InputError(
                "schedule",
                "finite learning rates of at least 0",
                f"another at step {step}",
                "check the function you passed",
            )
        return rates


def schedule_of(value: Any) -> Schedule:
    """A schedule from a number (constant), a schedule, its name or a function."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return Constant(float(value))
    if callable(value) and not isinstance(value, Schedule | type):
        return FromFunction(value)
    try:
        made: Schedule = SCHEDULES.make(value, Schedule)
    except InputTypeError as error:
        advice = error.advice if isinstance(value, type) else "see fastmlp.schedules"
        raise InputTypeError(
            "learning_rate",
            "a number, a schedule or a function of (step, n_steps)",
            error.got,
            advice,
        ) from None
    return made


def at_rate(name: str, learning_rate: float) -> Schedule:
    """The named schedule with its highest rate at `learning_rate`, other settings by default."""
    if name == WarmUp.name:
        return WarmUp(learning_rate)
    return SCHEDULES[name](learning_rate)  # type: ignore[call-arg]
