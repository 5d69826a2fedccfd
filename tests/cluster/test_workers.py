"""The rules for all kinds of workers: what is sent, what is done again, and what is given up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning

from fastmlp import BatchNorm, Dense, InputError, Layer, Network, ReLU, fit_many
from fastmlp.cluster.workers import MOST_TRIES
from fastmlp.training import elsewhere, many

from .here import Here

pytestmark = pytest.mark.nojit


def product(shared: int, number: int) -> int:
    return shared * number


def failing(shared: Any, number: int) -> None:
    raise ZeroDivisionError(number)


JOBS = [(number,) for number in range(5)]


@pytest.mark.parametrize("most", [None, 1, 3])
def test_each_job_is_done_once(most: int | None) -> None:
    workers = Here()
    found = dict(workers.run(product, workers.share(3), JOBS, most))
    assert found == {number: 3 * number for number in range(5)}
    assert (workers.sent, workers.most, workers.results) == (1, most or 5, {})


def test_what_was_lost_is_sent_once_more() -> None:
    workers = Here(losses=1)
    assert dict(workers.run(product, workers.share(3), JOBS)) == {i: 3 * i for i in range(5)}
    assert workers.sent == 2


def test_lost_jobs_are_done_again_but_not_for_ever() -> None:
    workers = Here(losses=MOST_TRIES - 1)
    assert dict(workers.run(product, workers.share(3), JOBS[:1])) == {0: 0}
    assert workers.sent == MOST_TRIES
    workers = Here(losses=10 * MOST_TRIES)
    with pytest.raises(InputError, match=f"^here: .* got {MOST_TRIES} that were lost"):
        dict(workers.run(product, workers.share(3), JOBS))
    assert workers.results == {}


def test_failures_and_closed_iterators_cancel_the_others() -> None:
    workers = Here()
    with pytest.raises(ZeroDivisionError):
        dict(workers.run(failing, workers.share(3), JOBS))
    assert workers.results == {}
    found = workers.run(product, workers.share(3), JOBS)
    assert next(found) == (4, 12)
    found.close()
    assert workers.results == {}


class Counting(Layer):
    """Counts its batches, which needs Python between them."""

    name = "counting"
    n_batches = 0

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        self.n_batches += int(training)
        return X

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return dY


def networks() -> list[Network]:
    """Some alike, one that fails, one that is built, and one of layers of one's own."""
    made = [Network([Dense(3), ReLU(), BatchNorm(), Dense(2)], random_state=i) for i in range(4)]
    made += [Network([Dense(4), ReLU(), Dense(2)], random_state=i) for i in range(3)]
    made += [Network([Counting(), Dense(2)]), Network([Dense(2)]).build(3), Network([Dense(3)])]
    return made


def call_of(made: list[Network], **options: Any) -> Any:
    X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    y = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
    rows = [None] * 8 + [np.arange(40), [99]]
    judged = [np.arange(20) if i % 2 else None for i in range(10)]
    with pytest.warns(FitFailedWarning, match="1 network of 10 failed: 9"):
        return fit_many(made, X, y, epochs=3, rows=rows, validation_rows=judged, **options)


def without_seconds(found: Any) -> list[dict[str, Any]]:
    return [{**history.to_dict(), "seconds": 0} for history in found]


def test_networks_elsewhere_end_as_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here, there = networks(), networks()
    layers = [one.layers for one in there]
    expected = call_of(here)
    workers = Here(losses=2)
    monkeypatch.setattr(many, "active_workers", lambda where: workers)
    found = call_of(there)
    assert workers.sent == 3
    kept = networks()
    assert without_seconds(call_of(kept, checkpoint=tmp_path)) == without_seconds(expected)
    monkeypatch.setattr(workers, "share", None)  # nothing is left to be sent
    assert without_seconds(call_of(kept, checkpoint=tmp_path)) == without_seconds(expected)
    assert without_seconds(found) == without_seconds(expected)
    for one, twin, again, before in zip(here, there, kept, layers, strict=True):
        assert one.learned.tobytes() == twin.learned.tobytes() == again.learned.tobytes()
        assert twin.layers is before
        if one.is_built:
            assert all(np.shares_memory(w, twin.params) for w in twin.named_parameters().values())
    assert there[7].layers[0].n_batches == here[7].layers[0].n_batches > 0  # type: ignore[attr-defined]
    assert np.array_equal(there[0].classes_, ["no", "yes"])


def test_an_interrupt_keeps_what_has_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pressed(Here):
        def _result(self, ended: Any) -> Any:
            if ended < 3:
                raise KeyboardInterrupt
            return super()._result(ended)

    workers = Pressed()
    monkeypatch.setattr(many, "active_workers", lambda where: workers)
    made = [Network([Dense(2 + i), ReLU(), Dense(2)]) for i in range(6)]
    X = np.random.default_rng(0).normal(size=(60, 3))
    histories = fit_many(made, X, (X[:, 0] > 0).astype(int), epochs=2)
    stopped = [history.stopped for history in histories]
    assert set(stopped) == {"finished", "interrupted"}
    assert [one.is_built for one in made] == [reason == "finished" for reason in stopped]


def test_tables_of_one_chunk_go_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Here()
    monkeypatch.setattr(many, "active_workers", lambda where: workers)
    monkeypatch.setattr(elsewhere, "_CHUNKS", 1)
    rng = np.random.default_rng(0)
    tables = [rng.normal(size=(20 + i, 2)) for i in range(4)]
    targets = [table.sum(axis=1) for table in tables]
    made = [Network([Dense(3), Dense(1)], "mse", random_state=i) for i in range(4)]
    fit_many(made, tables, targets, epochs=2)
    for i, one in enumerate(made):
        other = Network([Dense(3), Dense(1)], "mse", random_state=i)
        other.fit(tables[i], targets[i], epochs=2)
        assert one.learned.tobytes() == other.learned.tobytes()
