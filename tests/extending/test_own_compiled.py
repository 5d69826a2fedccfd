"""User-defined compiled parts: in the compiled loop, layer by layer, in the cache and in files.

Each is compared with the same formulas in NumPy, or with a built-in part whose rule it copies.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import fastmlp
from fastmlp import (
    SGD,
    Activation,
    Adam,
    CompiledLoss,
    Dense,
    Dropout,
    Huber,
    InputError,
    Layer,
    Loss,
    Network,
    Optimizer,
    ParametricActivation,
    ReLU,
    Tanh,
    check_part,
    compiled_activation,
    compiled_link,
    compiled_loss,
    compiled_optimizer,
)
from fastmlp.engine.lowering import can_compile
from fastmlp.errors import FileError, InputTypeError
from fastmlp.kernels.compiler import cache, folder
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.compiler.own_rule import stamp_of

DTYPES = ("float32", "float64")
PACKAGE = Path(fastmlp.__file__).parent
needs_compiler = pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")


def halved(z: Any) -> Any:
    return type(z)(0.5) * z


def snake(z: Any, alpha: Any) -> Any:
    """By a plain function of its own."""
    s = math.sin(alpha * z)
    return z + halved(s * s), type(z)(1) + alpha * halved(math.sin(2 * alpha * z))


@dataclasses.dataclass
class Snake(Activation):
    name = "snake"
    kernel = compiled_activation(snake)
    a: float = 1.0


class NumPySnake(Layer):
    name = "numpy_snake"

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        self.X = X
        return X + 0.5 * np.sin(2 * X) ** 2

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return dY * (1 + np.sin(4 * self.X))


def log_cosh(z: Any, t: Any, option: Any) -> Any:
    r = z - t
    return math.log(math.cosh(r)), math.tanh(r)


class LogCosh(CompiledLoss):
    name = "log_cosh"
    kernel = compiled_loss(log_cosh)
    link_kernel = compiled_link(lambda z: z + z)


class NumPyLogCosh(Loss):
    name = "numpy_log_cosh"

    def value_and_gradient(self, outputs: Any, targets: Any, sample_weight: Any) -> Any:
        r, w = outputs - targets, sample_weight[:, None] / (sample_weight.sum() * outputs.shape[1])
        return float((w * np.log(np.cosh(r))).sum()), w * np.tanh(r)


def lion(p: Any, g: Any, mean: Any, rate: Any, h: Any) -> Any:
    one = type(p)(1)
    step = np.sign(h.beta1 * mean + (one - h.beta1) * g)
    return p - rate * step, h.beta2 * mean + (one - h.beta2) * g


@dataclasses.dataclass(frozen=True)
class Lion(Optimizer):
    name = "lion"
    kernel = compiled_optimizer(lion, n_states=1, numbers=("beta1", "beta2"))
    beta1: float = 0.9
    beta2: float = 0.99


class NumPyLion:
    """Without weight decay."""

    def __init__(self, rate: float) -> None:
        self.rate, self.mean = rate, 0.0

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        params -= self.rate * np.sign(0.9 * self.mean + 0.1 * grads)
        self.mean = 0.99 * self.mean + 0.01 * grads


def data(n: int = 90, n_out: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, 4))
    return X, np.sin(X @ rng.normal(size=(4, n_out)))


def network(activation: Any, loss: Any, dtype: str, **options: Any) -> Network:
    layers = [Dense(12), activation(), Dropout(0.2), Dense(8), activation(), Dense(2)]
    return Network(layers, loss, dtype=dtype, random_state=5, **options)


def fitted(net: Network, optimizer: Any, **options: Any) -> Network:
    X, y = data()
    net.fit(X, y, optimizer=optimizer, epochs=3, batch_size=16, **options)
    return net


def layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastmlp.training.fit.can_compile", lambda *parts: False)


# ------------------------------------------------------------------------------------- the loop


@pytest.mark.nojit
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_own_parts_run_in_the_compiled_loop(
    dtype: str, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made() -> Network:
        return network(lambda: Snake(2.0), LogCosh(), dtype, l2=1e-3)

    optimizer = Lion(2e-3, weight_decay=0.01, factors={"*.b": 0.5})
    assert can_compile(made().layers, made().loss, optimizer)
    compiled = fitted(made(), optimizer, n_threads=n_threads)
    layer_by_layer(monkeypatch)
    slow = fitted(made(), optimizer)
    np.testing.assert_array_equal(compiled.params, slow.params)


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", DTYPES)
def test_they_compute_what_numpy_does(dtype: str) -> None:
    compiled = fitted(network(lambda: Snake(2.0), LogCosh(), dtype), Lion(1e-3))
    plain = fitted(network(NumPySnake, NumPyLogCosh(), dtype), NumPyLion(1e-3))
    assert not can_compile(plain.layers, plain.loss)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    # Where a sum of gradients is near 0, Lion goes one way or the other.
    alike = np.isclose(compiled.params, plain.params, tolerance, tolerance)
    assert alike.mean() > (0.95 if dtype == "float32" else 0.9999)


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_of_built_in_rules_are_as_good(dtype: str) -> None:
    def relu(z: Any, alpha: Any) -> Any:
        return max(z, z * 0), type(z)(1) if z > 0 else type(z)(0)

    def huber(z: Any, t: Any, delta: Any) -> Any:
        r = z - t
        clipped = min(max(r, -delta), delta)
        return clipped * (r - type(z)(0.5) * clipped), clipped

    def sgd(p: Any, g: Any, rate: Any, h: Any) -> Any:
        return p - rate * g

    class OwnReLU(Activation):
        name = "own_relu"
        kernel = compiled_activation(relu)

    @dataclasses.dataclass
    class OwnHuber(CompiledLoss):
        name = "own_huber"
        kernel = compiled_loss(huber)
        delta: float = 0.7

    @dataclasses.dataclass(frozen=True)
    class OwnSGD(Optimizer):
        name = "own_sgd"
        kernel = compiled_optimizer(sgd)
        ignores_gradient_scale = False

    own, built_in = network(OwnReLU, OwnHuber(), dtype), network(ReLU, Huber(0.7), dtype)
    for net in (own, built_in):
        net.build(4)
    own.params[...] = built_in.params  # those before a ReLU are larger
    fitted(own, OwnSGD(0.05))
    fitted(built_in, SGD(0.05))
    np.testing.assert_array_equal(own.params, built_in.params)


@pytest.mark.nojit
@pytest.mark.parametrize("n_states", [2, 3])
def test_rules_keep_several_numbers(n_states: int) -> None:
    def two(p: Any, g: Any, a: Any, b: Any, rate: Any, h: Any) -> Any:
        return p - rate * (g + a + b), g, a

    def three(p: Any, g: Any, a: Any, b: Any, c: Any, rate: Any, h: Any) -> Any:
        return p - rate * (g + a + b + c), g, a, b

    @dataclasses.dataclass(frozen=True)
    class Delayed(Optimizer):
        name = "delayed"
        kernel = compiled_optimizer({2: two, 3: three}[n_states], n_states)

    params, optimizer = np.zeros(3), Delayed(1.0)
    gradients = np.array([1.0, 10.0, 100.0, 1000.0])
    for gradient in gradients:
        optimizer.step(params, np.full(3, gradient))
    seen = np.convolve(gradients, np.ones(n_states + 1))[:4]
    np.testing.assert_array_equal(params, -seen.sum())


@pytest.mark.nojit
def test_what_bypasses_a_kernel_goes_layer_by_layer() -> None:
    class Shifted(ReLU):
        def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
            return super().forward(X, training) + 1

    class Derived(Snake):
        """Whose kernel is another class's."""

    class Linked(CompiledLoss):
        name = "linked"
        kernel = compiled_loss(log_cosh)

        def link(self, outputs: np.ndarray) -> np.ndarray:
            return outputs + 1

    class Doubled(Huber):
        def value_and_gradient(self, outputs: Any, targets: Any, sample_weight: Any) -> Any:
            value, gradient = super().value_and_gradient(outputs, targets, sample_weight)
            return 2 * value, 2 * gradient

    class Stepping(Lion):
        kernel = Lion.kernel

        def step(self, params: Any, grads: Any, n_steps: Any = None) -> None:
            params += 1

    mse, layers = Huber(), [Dense(2)]
    assert can_compile([Snake()], LogCosh(), Lion())
    for activation in (Shifted(), Derived()):
        assert not can_compile([activation], mse)
    for loss in (Linked(), Doubled()):
        assert not can_compile(layers, loss)
    assert not can_compile(layers, mse, Stepping())
    X, y = data()
    one, two = (Network([Dense(2)], loss) for loss in (Huber(), Doubled()))
    assert two.loss_and_gradient(X, y)[0] == 2 * one.loss_and_gradient(X, y)[0]
    assert (Network([Dense(2)], Linked()).fit(X, y, epochs=1)).epochs == 1


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", DTYPES)
def test_they_trace_predict_save_and_pickle(dtype: str, tmp_path: Path) -> None:
    net = fitted(network(lambda: Snake(0.5), LogCosh(), dtype), Lion(1e-3))
    X, y = data()
    outputs = net.predict(X)
    np.testing.assert_allclose(net.compile_predictor()(X[0]), outputs[0], 1e-5)
    trace = net.trace(X[0], y[0], optimizer=Lion(0.01))
    np.testing.assert_allclose(trace.prediction, outputs[0], 1e-5)
    net.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors", custom=[Snake, LogCosh])
    copied = pickle.loads(pickle.dumps(net))
    for twin in (again, copied):
        assert (twin.layers[1].a, twin.loss.name) == (0.5, "log_cosh")
        np.testing.assert_array_equal(twin.predict(X), outputs)
        twin.fit(X, y, optimizer=Lion(1e-3), epochs=1)
    assert "_slope" not in vars(copied.layers[1])


@pytest.mark.nojit
def test_an_own_activation_with_a_learned_strength_is_saved(tmp_path: Path) -> None:
    network = Network([Dense(4), ParametricActivation(Snake(2.0)), Dense(2)]).build(3)
    network.save(path := tmp_path / "net.safetensors")
    again = Network.load(path, custom=[Snake])
    assert again.layers[1].activation == Snake(2.0)
    X = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(again.compile_predictor()(X), network.compile_predictor()(X))
    with pytest.raises(FileError, match="a layer that fastmlp knows, got 'snake'"):
        Network.load(path)


def test_a_kernel_can_be_pickled_with_its_rule() -> None:
    for kernel in (Snake.kernel, LogCosh.kernel, Lion.kernel):
        again = pickle.loads(pickle.dumps(kernel))
        assert again.own.stamp == kernel.own.stamp
        assert again.interface is kernel.interface


@pytest.mark.nojit
def test_a_checkpoint_goes_on_with_an_own_optimizer(tmp_path: Path) -> None:
    X, y = data()
    whole, part, rest = (network(Tanh, LogCosh(), "float64") for _ in range(3))
    whole.fit(X, y, optimizer=Lion(1e-3), epochs=4)
    keep = fastmlp.Checkpoint(tmp_path)
    part.fit(X, y, optimizer=Lion(1e-3), epochs=4, callbacks=[keep, lambda net, h: h.epochs == 2])
    again = fastmlp.Checkpoint(tmp_path, resume=True)
    rest.fit(X, y, optimizer=Lion(1e-3), epochs=4, callbacks=[again])
    np.testing.assert_array_equal(rest.params, whole.params)


@pytest.mark.nojit
def test_rules_decorated_by_numba_and_lambdas() -> None:
    class Decorated(Activation):
        name = "decorated"
        kernel = compiled_activation(numba.njit(snake))

    X = np.linspace(-2, 2, 9).reshape(3, 3)
    for part in (Decorated(), Snake(0.0)):
        found = part.forward(X)
        np.testing.assert_array_equal(found, X + 0.5 * np.sin(part.option * X) ** 2)


@needs_compiler
def test_two_rules_of_one_name() -> None:
    def made(shift: float) -> type[Activation]:
        def same(z: Any, alpha: Any) -> Any:
            return z + shift, type(z)(1)

        class Same(Activation):
            name = "same"
            kernel = compiled_activation(same)

        return Same

    one, two, X = made(1.0), made(2.0), np.zeros((2, 4))
    assert one.kernel.own.stamp != two.kernel.own.stamp
    for dtype in map(np.dtype, DTYPES):
        assert one.kernel.address(dtype) != two.kernel.address(dtype)
    X, y = data()
    for kind, shift in ((one, 1.0), (two, 2.0)):
        net = Network([Dense(3), kind(), Dense(2)], "mse")
        net.build(4)
        net.named_parameters()["2.W"][...] = 1
        hidden = X.astype("float32") @ net.layers[0].W + shift
        found = net.loss_and_gradient(X, y)[0]
        assert found == pytest.approx(((hidden.sum(1, keepdims=True) - y) ** 2).mean(), rel=1e-5)


# ------------------------------------------------------------------------------------- stamps


def made_from(source: str, **known: Any) -> Any:
    namespace = dict(known)
    exec(source, namespace)
    return namespace["rule"]


@pytest.mark.nojit
def test_stamps_tell_code_apart_and_nothing_else() -> None:
    helped = "def helper(z):\n    return {} * z\ndef rule(z, alpha):\n    return helper(z), z"
    assert stamp_of(made_from(helped.format(2))) == stamp_of(made_from("\n\n" + helped.format(2)))
    assert stamp_of(made_from(helped.format(2))) != stamp_of(made_from(helped.format(3)))
    scaled = "def rule(z, alpha):\n    return scale * z, z"
    stamps = [stamp_of(made_from(scaled, scale=scale)) for scale in (1, 1.0, 2.0, np.float32(1))]
    assert len(set(stamps)) == 4
    arrays = [np.zeros(2), np.ones(2), np.zeros(2, "float32")]
    first = "def rule(z, alpha):\n    return scale[0] * z, z"
    assert len({stamp_of(made_from(first, scale=scale)) for scale in arrays}) == 3
    assert stamp_of(made_from(first, scale={0: 1.0})) is None
    nested = "def rule(z, alpha):\n    return (lambda x: x + {})(z), z"
    assert stamp_of(made_from(nested.format(1))) != stamp_of(made_from(nested.format(2)))
    module = types.ModuleType("of_ones_own")
    of_module = "def rule(z, alpha):\n    return own.part(z), z"
    found = []
    for number in (1, 2):
        module.part = made_from(f"def rule(z):\n    return {number} * z")  # type: ignore[attr-defined]
        found.append(stamp_of(made_from(of_module, own=module)))
    assert len(set(found)) == 2
    looped = "def rule(z, alpha):\n    return rule(z, alpha)"
    assert stamp_of(made_from(looped)) == stamp_of(made_from(looped))


SCRIPT = """
import numpy as np
from fastmlp import Activation, compiled_activation
from fastmlp.kernels.compiler import cache
from helping import helped

def rule(z, alpha):
    return helped(z), type(z)(1)

class Part(Activation):
    name = "part"
    kernel = compiled_activation(rule)

Part.kernel.address(np.dtype("float32"))
print(Part.kernel.loaded.get(np.dtype("float32")), Part().forward(np.ones((1, 1), "float32"))[0, 0])
"""


@pytest.mark.slow
@needs_compiler
def test_code_is_kept_and_a_changed_rule_is_compiled_anew(tmp_path: Path) -> None:
    places = f"{PACKAGE.parent}{os.pathsep}{tmp_path}"
    environment = os.environ | {"PYTHONPATH": places, "NUMBA_CACHE_DIR": str(tmp_path / "c")}

    def run(source: str, piped: bool = False) -> str:
        (tmp_path / "script.py").write_text(source, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, *([] if piped else [str(tmp_path / "script.py")])],
            env=environment, input=source if piped else None, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    helping = tmp_path / "helping.py"
    helping.write_text("def helped(z):\n    return z + type(z)(1)\n", encoding="utf-8")
    assert run(SCRIPT) == "False 2.0"
    assert run(SCRIPT) == "True 2.0"
    assert run("# moved\n\n" + SCRIPT, piped=True) == "True 2.0"
    helping.write_text("def helped(z):\n    return z + type(z)(21)\n", encoding="utf-8")
    assert run(SCRIPT) == "False 22.0"
    assert run(SCRIPT.replace("helped(z),", "-helped(z),")) == "False -22.0"
    unknown = SCRIPT.replace("helped(z),", "known.size * helped(z),")
    unknown = unknown.replace("def rule", "known = np.ones(2)\ndef rule")
    assert run(unknown) == "False 44.0"
    folders = {path.parent.name for path in (tmp_path / "c").rglob("activations.activate_rule*")}
    main = Path(folder.cache_folder() or "").name
    assert len(folders) == 4
    assert main not in folders


@pytest.mark.slow
def test_code_of_a_prompt_runs(tmp_path: Path) -> None:
    code = SCRIPT.replace("from helping import helped", "helped = lambda z: z + 1.0")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(code, namespace)
    net = Network([Dense(3), namespace["Part"](), Dense(2)], "mse")
    X, y = data()
    assert net.fit(X, y, epochs=2).epochs == 2


@pytest.mark.nojit
def test_a_rule_may_fail_for_some_numbers() -> None:
    class Log(Activation):
        name = "log"
        kernel = compiled_activation(lambda z, alpha: (math.log(z), type(z)(1) / z))

    np.testing.assert_allclose(Log().forward(np.full((1, 2), math.e)), np.ones((1, 2)))


@needs_compiler
def test_what_cannot_be_known_is_not_kept() -> None:
    holder = types.SimpleNamespace()

    def rule(z: Any, alpha: Any) -> Any:
        return z, type(z)(1) if holder is None else type(z)(2)

    kernel = compiled_activation(rule)
    assert kernel.own.stamp is None
    assert cache.cache_of(kernel.called.py_func) is None


# ------------------------------------------------------------------------------------- checks


@pytest.mark.nojit
@pytest.mark.parametrize(
    "part", [Snake(0.7), LogCosh(), NumPySnake(), NumPyLogCosh(), ReLU(), Huber(), Dense(3, 2)]
)
def test_right_parts_pass_the_check(part: Any) -> None:
    results = check_part(part)
    assert [result.dtype for result in results] == list(DTYPES)
    assert all(result.passed for result in results), results


@pytest.mark.nojit
def test_wrong_slopes_fail_the_check() -> None:
    def wrong(z: Any, alpha: Any) -> Any:
        return z * z, z

    def wrong_loss(z: Any, t: Any, option: Any) -> Any:
        return (z - t) * (z - t), z - t

    class Wrong(Activation):
        name = "wrong"
        kernel = compiled_activation(wrong)

    class WrongLoss(CompiledLoss):
        name = "wrong_loss"
        kernel = compiled_loss(wrong_loss)

    for part in (Wrong(), WrongLoss()):
        assert not any(result.passed for result in check_part(part))
    for what in (Adam(), ReLU, 3):
        with pytest.raises(InputTypeError, match="check_part: expected a layer or a loss"):
            check_part(what)


@pytest.mark.nojit
def test_estimators_take_own_activations() -> None:
    class Plain(Activation):
        name = "plain"
        kernel = compiled_activation(snake)

        @property
        def option(self) -> float:
            return 2.0

    X, y = data()
    options: dict[str, Any] = {"max_iter": 3, "random_state": 0}
    with pytest.warns(ConvergenceWarning):
        one, two = (
            clone(fastmlp.MLPRegressor(hidden_layer_sizes=6, activation=activation, **options)).fit(
                X, y
            )
            for activation in (Snake(2.0), Plain())
        )
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


@pytest.mark.nojit
def test_onnx_has_no_links_of_ones_own(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    net = fitted(network(Tanh, LogCosh(), "float32"), "sgd")
    with pytest.raises(InputError, match="a built network with a built-in loss"):
        fastmlp.to_onnx(net, tmp_path / "net.onnx")


@pytest.mark.nojit
def test_traces_have_no_reference_for_own_parts() -> None:
    step = network(lambda: Snake(), LogCosh(), "float64").trace(*(v[0] for v in data()))
    assert "snake" in step.no_reference or "log_cosh" in step.no_reference


@pytest.mark.nojit
def test_the_option_is_the_only_field() -> None:
    @dataclasses.dataclass
    class Two(Snake):
        b: float = 2.0

    @dataclasses.dataclass
    class Text(Activation):
        name = "text"
        word: str = "a"

    assert (Snake(3).option, ReLU().option, LogCosh().option) == (3.0, 0.0, 0.0)
    for part in (Two(), Text()):
        with pytest.raises(InputError, match="one number as the only field"):
            _ = part.option


@pytest.mark.nojit
def test_a_rule_that_fails_leaves_the_network_as_it_was() -> None:
    def counts(z: Any, alpha: Any) -> Any:
        return z, 1

    class Counts(Activation):
        name = "counts"
        kernel = compiled_activation(counts)

    net = Network([Dense(3), Counts(), Dense(2)], "mse")
    with pytest.raises(InputTypeError, match="a float as the slope, got int"):
        net.fit(*data(), epochs=1)
    assert not net.is_built
