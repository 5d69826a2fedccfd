"""Factors of groups, weight decay and dropout that follow schedules: the same bits on every path.

What a schedule gives at each step is compared with fits of one step, with constants in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import SGD, Adam, AdamW, Checkpoint, Dense, Dropout, Factor, InputError, Network, ReLU
from fastmlp.nn.dropout import rates_of_steps
from fastmlp.nn.initializers import INITIALIZERS
from fastmlp.optim import schedules
from fastmlp.optim.optimizers import Optimizer

pytestmark = pytest.mark.nojit

DTYPES = ("float32", "float64")
N, BATCH, EPOCHS = 60, 16, 3
N_STEPS = EPOCHS * -(-N // BATCH)


def halving(step: int, n_steps: int) -> float:
    return 0.5**step


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, 5))
    return X, (X[:, 0] > X[:, 1]).astype(int)


def network(dtype: str = "float64", rate: Any = 0.0, **options: Any) -> Network:
    layers = [Dense(12, **options), ReLU(), Dropout(rate), Dense(9), ReLU(), Dense(2)]
    return Network(layers, dtype=dtype, random_state=2, l2=1e-4)


def fitted(optimizer: Any, net: Network, **options: Any) -> Network:
    net.fit(*data(), optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH, **options)
    return net


def planned() -> dict[str, Any]:
    """Options in which everything follows a schedule."""
    return {
        "weight_decay": schedules.Linear(0.1, 0.0),
        "factors": {
            "0.*": Factor(schedules.Cosine(2.0, 0.1)),
            "*.b": Factor(0.5, decay=halving),
            "5.W": 0.25,
        },
    }


@pytest.mark.thinned
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("made", "more"),
    [(AdamW, {}), (SGD, {"momentum": 0.9}), (Adam, {"clip_norm": 0.5})],
    ids=["adamw", "momentum", "clipped"],
)
def test_all_paths_agree(
    made: Callable[..., Optimizer],
    more: dict[str, Any],
    dtype: str,
    n_threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def net() -> Network:
        return network(dtype, schedules.Linear(0.5, 0.0), max_norm=1.5)

    optimizer = made(0.01, **planned(), **more)
    compiled = fitted(optimizer, net(), n_threads=n_threads)
    monkeypatch.setattr("fastmlp.training.fit.can_compile", lambda *parts: False)
    np.testing.assert_array_equal(fitted(optimizer, net()).params, compiled.params)


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_have_the_bits_of_plain_numbers(dtype: str) -> None:
    constant = schedules.Constant
    plain = Adam(0.01, weight_decay=0.02, factors={"*.b": 0.3, "0.W": 2.0})
    same = Adam(
        0.01,
        weight_decay=constant(0.02),
        factors={"*.b": Factor(constant(0.3)), "0.W": Factor(2.0, decay=constant(1.0))},
    )
    numbers = Adam(0.01, weight_decay=0.02, factors={"*.b": Factor(0.3), "0.W": Factor(2.0)})
    expected = fitted(plain, network(dtype, 0.25))
    for other, rate in ((same, constant(0.25)), (numbers, 0.25)):
        np.testing.assert_array_equal(fitted(other, network(dtype, rate)).params, expected.params)


def test_each_step_has_its_own_numbers() -> None:
    X, y = data()
    together, alone = network(), network()
    together.fit(X, y, optimizer=SGD(0.1, **planned()), epochs=3, batch_size=N, shuffle=False)
    for step in range(3):
        factors = {
            "0.*": Factor(float(schedules.Cosine(2.0, 0.1).rates(np.array([step]), 3)[0])),
            "*.b": Factor(0.5, decay=halving(step, 3)),
            "5.W": 0.25,
        }
        decay = float(schedules.Linear(0.1, 0.0).rates(np.array([step]), 3)[0])
        optimizer = SGD(0.1, weight_decay=decay, factors=factors)
        alone.fit(X, y, optimizer=optimizer, epochs=1, batch_size=N, shuffle=False)
    np.testing.assert_array_equal(together.params, alone.params)


def test_decay_of_biases_and_of_weights() -> None:
    """The gradient is 0, so that decay is all that a step does."""
    net = Network([Dense(2, 2), Dense(2, 2)])
    net.params[...], net.grads[...] = 1.0, 0.0
    options = {"0.b": Factor(decay=1.0), "1.W": Factor(rate=2.0, decay=0.5), "1.b": Factor(3.0)}
    SGD(0.5, weight_decay=0.5, factors=options).step(net.params, net.grads)
    found = {key: float(values.flat[0]) for key, values in net.named_parameters().items()}
    assert found == {"0.W": 0.75, "0.b": 0.75, "1.W": 0.75, "1.b": 1.0}


def test_a_loop_of_ones_own_takes_the_same_steps() -> None:
    X, y = data()
    one, two = network(), network()
    one.fit(X, y, optimizer=Adam(0.01, **planned()), epochs=4, batch_size=N, shuffle=False)
    optimizer = Adam(0.01, **planned())
    for _ in range(4):
        two.loss_and_gradient(X, y)
        optimizer.step(two.params, two.grads, n_steps=4)
    np.testing.assert_array_equal(one.params, two.params)
    with pytest.raises(InputError, match="n_steps, over which Linear plans"):
        Adam(weight_decay=schedules.Linear(0.1)).step(two.params, two.grads)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_checkpoint_goes_on_with_the_same_bits(n_threads: int, tmp_path: Path) -> None:
    def run(net: Network, *callbacks: Any) -> Network:
        optimizer = AdamW(0.01, **planned())
        return fitted(optimizer, net, callbacks=callbacks, n_threads=n_threads)

    rate = schedules.Linear(0.5, 0.0)
    whole = run(network(rate=rate))
    run(network(rate=rate), Checkpoint(tmp_path), lambda net, history: history.epochs == 1)
    again = run(network(rate=rate), Checkpoint(tmp_path, resume=True))
    np.testing.assert_array_equal(again.params, whole.params)
    other = AdamW(0.01, **(planned() | {"factors": {"0.*": Factor(schedules.Cosine(2.0, 0.2))}}))
    with pytest.raises(InputError, match="another optimizer"):
        fitted(other, network(rate=rate), callbacks=[Checkpoint(tmp_path, resume=True)])


def test_schedules_of_ones_own_are_asked_epoch_by_epoch() -> None:
    seen: list[int] = []

    def watching(step: int, n_steps: int) -> float:
        seen.append(step)
        return 0.1

    seen_at: list[int] = []
    for option in (
        {"weight_decay": watching},
        {"factors": {"*": Factor(watching)}},
        {"factors": {"*": Factor(decay=watching)}},
    ):
        seen.clear()
        fitted(SGD(0.01, **option), network(), callbacks=[lambda *_: seen_at.append(len(seen))])
        assert seen == list(range(N_STEPS))
    assert seen_at == [N_STEPS // EPOCHS * epoch for epoch in (1, 2, 3)] * 3
    seen.clear()
    fitted(SGD(0.01), network(rate=watching))
    assert seen == list(range(N_STEPS))


def test_dropout_follows_its_schedule() -> None:
    found = rates_of_steps([Dropout(0.5), Dropout(schedules.Linear(0.8, 0.0))], np.arange(4), 4)
    np.testing.assert_allclose(found[:, 0], [0.8, 0.6, 0.4, 0.2])
    layer = Dropout(lambda step, n_steps: 0.25 if step else 0.75)
    layer.at_step(0, 1, 0, 0.5)
    kept = layer.forward(np.ones((40, 50)), training=True)
    assert set(np.unique(kept)) == {0.0, 2.0}
    layer.at_step(0, 1, 0)
    assert layer.forward(np.ones((40, 50)), training=True).max() == 4.0
    layer.at_step(0, 1, 1)
    assert layer.forward(np.ones((40, 50)), training=True).max() == pytest.approx(4 / 3)
    none = Dropout(schedules.Constant(0.0))
    np.testing.assert_array_equal(none.forward(np.ones((2, 2)), training=True), np.ones((2, 2)))


def test_networks_with_such_dropout_are_saved_and_traced(tmp_path: Path) -> None:
    net = fitted(SGD(0.01), network(rate=schedules.Linear(0.5, 0.1)))
    net.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors")
    assert again.layers[2] == net.layers[2]
    X, y = data()
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert net.trace(X[0], y[0], training=True).no_reference != ""
    assert net.trace(X[0], y[0], optimizer=Adam(0.01, **planned())).loss > 0


def test_scaled_parametrisations_keep_their_shift() -> None:
    def net() -> Network:
        made = [INITIALIZERS[name]() for name in INITIALIZERS.names]
        scaled = [initializer for initializer in made if initializer.parameter_scale(4) != 1]
        return Network([Dense(8, initializer=scaled[0]), ReLU(), Dense(2)])

    def factors(value: Any) -> dict[str, Any]:
        return {"0.W": Factor(value, decay=value)}

    one, two = (
        fitted(Adam(0.01, weight_decay=0.1, factors=factors(value)), net())
        for value in (0.5, schedules.Constant(0.5))
    )
    np.testing.assert_array_equal(one.params, two.params)
