"""A short version of `python -m tests.stress`, and proof that its trials can fail."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import Checkpoint, Network
from fastmlp.io import serialization
from fastmlp.training.checkpoint import FitState

from .stress import TRIALS, files, fuzz, guarded, inputs, kills

# Eight cold compilations at once would take a minute.
COUNTS = {
    "kills": 4, "inputs": 400, "files": 120, "fuzz": 300, "threads": 200, "processes": 1,
    "soak": 14,
}  # fmt: skip
QUICK = "inputs"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name != QUICK else ()) for name in COUNTS]
)
@pytest.mark.filterwarnings("ignore")
def test_nothing_breaks(name: str) -> None:
    outcome = TRIALS[name][0](COUNTS[name], 7)
    assert not outcome.failures, str(outcome)
    assert sum(outcome.counts.values()) >= min(COUNTS[name], 4)


@pytest.mark.slow
def test_kills_find_a_checkpoint_that_forgets_the_optimizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    after_epoch = Checkpoint.after_epoch

    def forgetful(self: Checkpoint, network: Network, state: FitState, is_last: bool) -> None:
        forgotten = state._replace(optimizer=np.zeros_like(state.optimizer))
        after_epoch(self, network, forgotten, is_last)

    monkeypatch.setattr(Checkpoint, "after_epoch", forgetful)
    assert kills.run(6, 0).failures


def test_changed_files_find_a_reader_that_does_not_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialization, "_checksum", lambda fields, tensors: None)
    assert files.run(400, 0).failures


@pytest.mark.slow
def test_bad_inputs_find_a_check_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastmlp.inputs.checks.answers", lambda where, outputs: outputs)
    assert inputs.run(4000, 2).failures


@pytest.mark.slow
@pytest.mark.skipif(not guarded.IS_SUPPORTED, reason=guarded.WHY_NOT)
@pytest.mark.parametrize(
    ("plant", "found"),
    [
        ("short", "dies of SIG"),
        ("numbers", "differs from scikit-learn's"),
        ("input", "changed what it was given"),
    ],
)
def test_the_fuzzer_finds_a_planted_fault(plant: str, found: str) -> None:
    outcome = fuzz.run(40, 3, plant)
    assert any(found in failure for failure in outcome.failures), str(outcome)


@pytest.mark.slow
@pytest.mark.skipif(not guarded.IS_SUPPORTED, reason=guarded.WHY_NOT)
def test_the_fuzzer_finds_what_hangs() -> None:
    outcome = fuzz.run(8, 3, "endless", seconds=3)
    assert any("hangs for" in failure for failure in outcome.failures), str(outcome)
