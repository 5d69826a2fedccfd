"""Adam's bias corrections: powers that are left out change no bit."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import Adam


@pytest.mark.parametrize("beta", [0.0, 1e-300, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999999])
@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 5000), (300, 100), (37_000, 1000)])
def test_corrections_are_those_of_all_powers(beta: float, first: int, count: int) -> None:
    rates, t = np.full(count, 0.01), np.arange(first, first + count) + 1.0
    found, _ = Adam(beta1=beta).rule_numbers(rates, t)
    root = np.sqrt(1.0 - 0.999**t)
    np.testing.assert_array_equal(found, rates * (root / (1.0 - beta**t)))
    found, numbers = Adam(beta1=0.0, beta2=beta).rule_numbers(rates, t)
    np.testing.assert_array_equal(found, rates * np.sqrt(1.0 - beta**t))
    np.testing.assert_array_equal(numbers.epsilon, 1e-8 * np.sqrt(1.0 - beta**t))
