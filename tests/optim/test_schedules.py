"""Learning rates of every schedule at the start, in the middle and at the end, from its formula.
In a fit, each step must get the rate of its own number, whatever epoch it falls into.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastmlp.errors import InputError
from fastmlp.network import Network
from fastmlp.nn import Dense
from fastmlp.optim import schedules
from fastmlp.optim.optimizers import SGD, Adam
from fastmlp.optim.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    FromFunction,
    InverseScaling,
    Linear,
    OneCycle,
    Schedule,
    Step,
    WarmUp,
    at_rate,
    schedule_of,
)
from fastmlp.registry import specification

pytestmark = pytest.mark.nojit
EVERY = pytest.mark.parametrize("schedule", list(SCHEDULES), ids=SCHEDULES.names)


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def rates(schedule: Schedule, n_steps: int) -> np.ndarray:
    return schedule.rates(np.arange(n_steps), n_steps)


# --------------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(0.3), {0: 0.3, 50: 0.3, 100: 0.3}),
        (Step(0.9), {0: 0.9, 33: 0.9, 34: 0.09, 66: 0.09, 67: 0.009, 99: 0.009, 100: 0.009}),
        (Step(0.8, 0.5, 1), {0: 0.8, 49: 0.8, 50: 0.4, 99: 0.4, 100: 0.4}),
        (Step(0.8, 0.5, 0), {0: 0.8, 50: 0.8, 100: 0.8}),
        (Exponential(0.5), {0: 0.5, 50: 0.05, 100: 0.005}),
        (Exponential(0.5, 0.0625), {0: 0.5, 25: 0.25, 50: 0.125, 75: 0.0625, 100: 0.03125}),
        (InverseScaling(0.6), {0: 0.6, 3: 0.3, 8: 0.2, 99: 0.06}),
        (InverseScaling(0.6, 1.0), {0: 0.6, 1: 0.3, 2: 0.2, 59: 0.01}),
        (Linear(0.4), {0: 0.4, 25: 0.3, 50: 0.2, 100: 0.0}),
        (Linear(0.2, 0.6), {0: 0.2, 50: 0.4, 100: 0.6}),
        (Cosine(0.4), {0: 0.4, 50: 0.2, 100: 0.0}),
        (Cosine(0.5, 0.1), {0: 0.5, 25: 0.1 + 0.4 * (0.5 + 0.25 * 2**0.5), 50: 0.3, 100: 0.1}),
        (OneCycle(1.0), {0: 0.04, 15: 0.52, 30: 1.0, 65: 0.50005, 100: 1e-4}),
        (OneCycle(0.5, 0.5), {0: 0.02, 25: 0.26, 50: 0.5, 75: 0.250025, 100: 5e-5}),
        (OneCycle(1.0, 0.0), {0: 1.0, 50: 0.50005, 100: 1e-4}),
        (OneCycle(1.0, 1.0), {0: 0.04, 50: 0.52, 100: 1.0}),
        (WarmUp(0.5, 10), {0: 0.05, 4: 0.25, 9: 0.5, 10: 0.5, 100: 0.5}),
        (WarmUp(0.5, 0), {0: 0.5, 50: 0.5}),
        (WarmUp(Linear(0.4), 20), {0: 0.02, 9: 0.182, 19: 0.324, 50: 0.2, 100: 0.0}),
        (WarmUp(WarmUp(0.8, 2), 4), {0: 0.1, 1: 0.4, 2: 0.6, 3: 0.8, 4: 0.8}),
        (WarmUp("cosine", 1), {0: 1e-3, 50: 5e-4}),
        (FromFunction(lambda step, n: step / n), {0: 0.0, 50: 0.5, 100: 1.0}),
    ],
    ids=lambda value: repr(value) if isinstance(value, Schedule) else "",
)
def test_rates_follow_the_formula(schedule: Schedule, expected: dict[int, float]) -> None:
    steps = np.array(list(expected))
    found = schedule.rates(steps, 100)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-12, atol=1e-15)


def test_drops_come_at_the_first_step_of_each_part() -> None:
    for n_parts in range(1, 9):
        for n_steps in range(n_parts, 200, n_parts):
            expected = 0.5 ** (np.arange(n_steps) * n_parts // n_steps)
            found = rates(Step(1.0, 0.5, n_parts - 1), n_steps)
            assert (found == expected).all(), (n_parts, n_steps)


# --------------------------------------------------------- what holds for every registered schedule


@pytest.mark.core
@EVERY
@pytest.mark.parametrize("n_steps", [1, 2, 7, 100])
def test_every_schedule_gives_a_rate_for_every_step(schedule: type, n_steps: int) -> None:
    found = rates(schedule(), n_steps)
    assert found.shape == (n_steps,)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert found.max() > 0


@EVERY
def test_rates_of_the_parts_are_the_rates_of_the_whole(schedule: type) -> None:
    whole = rates(schedule(), 60)
    parts = [schedule().rates(np.arange(start, start + 12), 60) for start in range(0, 60, 12)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert schedule().rates(np.arange(60)[::-1], 60)[::-1].tobytes() == whole.tobytes()
    assert schedule().rates(np.empty(0, int), 60).shape == (0,)


@EVERY
def test_steps_past_the_end_keep_a_usable_rate(schedule: type) -> None:
    found = schedule().rates(np.array([60, 61, 1000]), 60)
    assert np.isfinite(found).all()
    assert (found >= 0).all()


@EVERY
def test_at_rate_puts_the_highest_rate_where_it_is_asked_for(schedule: type) -> None:
    made = at_rate(schedule.name, 0.25)
    assert type(made) is schedule
    assert rates(made, 1000).max() == pytest.approx(0.25, rel=1e-4)


@EVERY
def test_every_schedule_is_known_by_its_name(schedule: type) -> None:
    assert SCHEDULES[schedule.name] is schedule
    assert schedule_of(schedule.name) == schedule()
    assert schedule_of(specification(schedule())) == schedule()
    assert pickle.loads(pickle.dumps(schedule())) == schedule()
    assert Adam(schedule()).schedule == schedule()
    assert Adam(schedule.name).schedule == schedule()


# ---------------------------------------------------------------------------------- what is taken


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.float64(0.5), np.int64(1), 0])
def test_a_number_is_a_constant_rate(value: Any) -> None:
    assert schedule_of(value) == Constant(float(value))


def test_a_function_is_called_with_every_step_and_their_number() -> None:
    calls = []

    def function(step: int, n_steps: int) -> float:
        calls.append((step, n_steps))
        assert type(step) is int
        return 0.1

    X, y = np.arange(10.0)[:, None], np.zeros(10)
    network = Network([Dense(1, 1)], "mean_squared_error")
    network.fit(X, y, optimizer=SGD(function), epochs=3, batch_size=4)
    assert calls == [(step, 9) for step in range(9)]


def test_a_schedule_of_ones_own_derives_from_the_base() -> None:
    class Halving(Schedule):
        def rates(self, steps: np.ndarray, n_steps: int) -> np.ndarray:
            return 0.5**steps

    own = Halving()
    assert schedule_of(own) is own
    assert rates(WarmUp(own, 2), 4).tolist() == [0.5, 0.5, 0.25, 0.125]
    with pytest.raises(NotImplementedError):
        Schedule().rates(np.arange(3), 3)


# -------------------------------------------------------------------------------------- in a fit


@pytest.mark.parametrize("batch_size", [4, 5, 100])
def test_each_step_of_a_fit_has_the_rate_of_its_number(batch_size: int) -> None:
    X, y = np.ones((10, 1)), np.zeros(10)
    network = Network([Dense(1, 1, initializer="zeros")], "mean_absolute_error", "float64")
    network.layers[0].b = 1000.0  # so far off that every step moves b by its rate exactly
    seen = []
    history = network.fit(
        X,
        y,
        optimizer=SGD(Linear(0.5, 0.1), factors={"0.W": 0.0}),
        epochs=4,
        batch_size=batch_size,
        callbacks=[lambda net, history: seen.append(net.layers[0].b[0])],
    )
    steps = -(-10 // batch_size)
    expected = rates(Linear(0.5, 0.1), 4 * steps)
    assert history.learning_rate == expected[steps - 1 :: steps].tolist()
    np.testing.assert_allclose(seen, 1000 - expected.cumsum()[steps - 1 :: steps], rtol=1e-14)


def test_a_rate_of_zero_changes_nothing() -> None:
    network = Network([Dense(1, 2)])
    before = network.params.tobytes()
    network.fit([[0.0], [1.0]], [0, 1], optimizer=Adam(0.0), epochs=2)
    assert network.params.tobytes() == before


# ----------------------------------------------------------------------------------------- errors


def fit_with(rate: Any) -> Callable[[], Any]:
    data = [[0.0], [1.0], [2.0]], [0, 1, 1]
    return lambda: Network([Dense(1, 2)]).fit(*data, optimizer=SGD(rate), epochs=2, batch_size=1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            fit_with(lambda step, n: np.nan if step == 2 else 0.1),
            "schedule: expected finite learning rates of at least 0, got another at step 2; "
            "check the function you passed",
        ),
        (
            fit_with(lambda step, n: -0.1 if step == 4 else 0.1),
            "schedule: expected finite learning rates of at least 0, got another at step 4; "
            "check the function you passed",
        ),
        (
            fit_with(lambda step, n: np.inf),
            "schedule: expected finite learning rates of at least 0, got another at step 0; "
            "check the function you passed",
        ),
        (
            lambda: SGD("linaer"),
            "schedule: expected one of constant, cosine, exponential, flat_cosine, "
            "inverse_scaling, linear, log_cosine, one_cycle, step, warm_up, got 'linaer'; "
            "did you mean 'linear'?",
        ),
        (
            lambda: SGD(None),
            "learning_rate: expected a number, a schedule or a function of (step, n_steps), "
            "got NoneType; see fastmlp.optim.schedules",
        ),
        (
            lambda: SGD(True),
            "learning_rate: expected a number, a schedule or a function of (step, n_steps), "
            "got bool; see fastmlp.optim.schedules",
        ),
        (
            lambda: SGD(-0.1),
            "Constant: expected learning_rate to be a number at least 0, got -0.1; "
            "choose a value in that range",
        ),
        (
            lambda: SGD(np.nan),
            "Constant: expected learning_rate to be a number at least 0, got nan; "
            "choose a value in that range",
        ),
        (
            lambda: Step(factor=2),
            "Step: expected factor to be a number at least 0 and at most 1, got 2; "
            "choose a value in that range",
        ),
        (
            lambda: Step(n_drops=1.5),
            "Step: expected n_drops to be a whole number of at least 0, got float; pass an int",
        ),
        (
            lambda: Exponential(end_factor=-1),
            "Exponential: expected end_factor to be a number at least 0 and at most 1, got -1; "
            "choose a value in that range",
        ),
        (
            lambda: InverseScaling(power=np.inf),
            "InverseScaling: expected power to be a number at least 0, got inf; "
            "choose a value in that range",
        ),
        (
            lambda: Linear("0.1"),
            "Linear: expected start to be a number at least 0, got str; pass a number",
        ),
        (
            lambda: Cosine(end=-1),
            "Cosine: expected end to be a number at least 0, got -1; choose a value in that range",
        ),
        (
            lambda: OneCycle(rise=1.5),
            "OneCycle: expected rise to be a number at least 0 and at most 1, got 1.5; "
            "choose a value in that range",
        ),
        (
            lambda: WarmUp(0.1, -1),
            "WarmUp: expected steps to be a whole number of at least 0, got -1; "
            "choose a larger one",
        ),
        (
            lambda: at_rate("linaer", 0.1),
            "schedule: expected one of constant, cosine, exponential, flat_cosine, "
            "inverse_scaling, linear, log_cosine, one_cycle, step, warm_up, got 'linaer'; "
            "did you mean 'linear'?",
        ),
    ],
)
def test_errors_in_full(call: Callable[[], Any], text: str) -> None:
    assert message(call) == text


def test_progress_counts_from_nothing_to_all() -> None:
    assert schedules.progress(np.array([0, 1, 2, 4, 9]), 4).tolist() == [0, 0.25, 0.5, 1, 1]
    assert schedules.progress(np.array([0, 1]), 0).tolist() == [0, 1]
