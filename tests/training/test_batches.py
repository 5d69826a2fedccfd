"""Batch callbacks: they are called after each step, change no bit, and can end the fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import Adam, Checkpoint, Dense, Dropout, History, Network, ReLU
from fastmlp.errors import InputError
from fastmlp.optim import schedules
from fastmlp.training import loop

from ..support import Own

pytestmark = [pytest.mark.nojit, pytest.mark.thinned(3)]

RNG = np.random.default_rng(0)
X, y = RNG.normal(size=(33, 5)), RNG.integers(0, 3, 33)
BATCH, EPOCHS = 8, 3
STEPS = -(-len(X) // BATCH)


class Heard:
    """Takes down what it is told, and ends the fit at a step if it is asked to."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.params: list[bytes] = []

    def on_batch(self, network: Network, step: int, loss: float) -> bool:
        self.steps.append(step)
        self.losses.append(loss)
        self.params.append(network.params.tobytes())
        return step == self.last


def network(own: bool = False, dtype: str = "float32") -> Network:
    extra = [Own()] if own else []
    return Network([Dense(7), ReLU(), Dropout(0.3), *extra, Dense(3)], dtype=dtype, l2=0.01)


def fitted(net: Network, *callbacks: Any, data: Any = X, **options: Any) -> History:
    optimizer = Adam(schedules.OneCycle(0.05), clip_norm=1.0, weight_decay=0.1)
    return net.fit(
        data, y, **{"optimizer": optimizer, "epochs": EPOCHS, "batch_size": BATCH} | options,
        callbacks=callbacks,
    )  # fmt: skip


PATHS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "compiled": ({}, {}),
    "layer by layer": ({"own": True}, {}),
    "float64": ({"dtype": "float64"}, {}),
    "sparse": ({}, {"data": sparse.csr_array(X * (X > 0))}),
    "weighted": ({}, {"sample_weight": RNG.integers(1, 4, len(X))}),
    "in order": ({}, {"shuffle": False}),
    "one batch per epoch": ({}, {"batch_size": 100}),
    "judged": ({}, {"validation_data": (X, y)}),
}


@pytest.mark.parametrize("path", PATHS)
def test_being_told_of_batches_changes_no_bit(path: str) -> None:
    made, options = PATHS[path]
    alone, told, heard = network(**made), network(**made), Heard()
    wanted, history = fitted(alone, **options), fitted(told, heard, **options)
    assert told.params.tobytes() == alone.params.tobytes()
    assert history.loss == wanted.loss
    assert history.learning_rate == wanted.learning_rate
    assert history.validation_score == wanted.validation_score
    n_steps = EPOCHS * (1 if "one batch" in path else STEPS)
    assert heard.steps == list(range(n_steps))
    assert len(set(heard.params)) == n_steps
    assert heard.params[-1] == told.params.tobytes()


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_number_of_threads_changes_no_bit(n_threads: int) -> None:
    alone, told = network(), network()
    fitted(alone, n_threads=1)
    fitted(told, Heard(), n_threads=n_threads)
    assert told.params.tobytes() == alone.params.tobytes()


@pytest.mark.thinned(1)
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("cuts", [1, 2, 3, 4])
def test_an_epoch_has_the_same_bits_however_it_is_cut(
    own: bool, cuts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, told = network(own), network(own)
    wanted = fitted(alone)
    begin = loop.Trainer.__init__

    def cut(self: Any, *arguments: Any) -> None:
        begin(self, *arguments)
        self.steps_per_call, self.epochs_per_call = cuts, 1

    monkeypatch.setattr(loop.Trainer, "__init__", cut)
    assert fitted(told).loss == wanted.loss
    assert told.params.tobytes() == alone.params.tobytes()


def test_losses_of_batches_make_up_that_of_the_epoch() -> None:
    heard = Heard()
    history = fitted(network(), heard)
    sizes = np.minimum(BATCH, len(X) - BATCH * np.arange(STEPS))
    means = np.reshape(heard.losses, (EPOCHS, STEPS)) @ sizes / len(X)
    assert np.allclose(means, history.loss)
    assert all(type(loss) is float for loss in heard.losses)


@pytest.mark.parametrize("own", [False, True])
def test_a_fit_ends_at_the_batch_that_a_callback_asks_for(own: bool) -> None:
    whole, heard, others = Heard(), Heard(STEPS + 1), Heard()
    fitted(network(own), whole)
    net = network(own)
    history = fitted(net, heard, others)
    assert heard.steps == others.steps == list(range(STEPS + 2))  # all see what any ends
    assert net.params.tobytes() == whole.params[STEPS + 1]
    assert (history.epochs, history.stopped) == (1, "callback")


def test_an_end_at_the_last_batch_leaves_the_epoch_whole() -> None:
    history = fitted(network(), Heard(2 * STEPS - 1), validation_data=(X, y))
    assert (history.epochs, len(history.validation_loss), history.stopped) == (2, 2, "callback")


def test_one_object_may_be_called_for_batches_and_epochs() -> None:
    class Both(Heard):
        epochs = 0

        def __call__(self, network: Network, history: History) -> bool:
            self.epochs += 1
            return self.epochs == 2

    both = Both()
    history = fitted(network(), both)
    assert (both.epochs, len(both.steps), history.stopped) == (2, 2 * STEPS, "callback")


def test_a_checkpoint_holds_whole_epochs_and_goes_on_from_them(tmp_path: Path) -> None:
    alone = network()
    fitted(alone)
    ended = fitted(network(), Heard(STEPS + 1), Checkpoint(tmp_path))
    assert ended.epochs == 1
    again, heard = network(), Heard()
    assert fitted(again, heard, Checkpoint(tmp_path, resume=True)).epochs == EPOCHS
    assert heard.steps == list(range(STEPS, EPOCHS * STEPS))
    assert again.params.tobytes() == alone.params.tobytes()


def test_a_loss_that_is_not_finite_ends_the_fit_before_anybody_is_told() -> None:
    net, heard = network(), Heard()
    fitted(net, epochs=1)
    with pytest.raises(InputError, match=r"expected a finite loss, got (nan|inf) in epoch 1, step"):
        net.fit(X * 1e30, y, optimizer="sgd", epochs=3, batch_size=BATCH, callbacks=[heard])
    assert np.isfinite(heard.losses).all()


def test_an_error_in_a_callback_of_batches_comes_through() -> None:
    class Broken:
        def on_batch(self, network: Network, step: int, loss: float) -> None:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fitted(network(), Broken())
