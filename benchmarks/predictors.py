"""Our side and the others in inference: a function and its argument, ready to call from Python.

Everything that can be prepared before a call is prepared: data in the library's own form, gradients
off, sessions open. All return class probabilities, or numbers.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from . import cases, measure
from .cases import OURS, Net
from .machine import blas_threads, n_cores, one_or_all_cores
from .problem import Problem, Weights
from .trainers import network_for


class Predictor:
    """One side of an inference case.

    Parameters
    ----------
    net : Net
    weights : list of (W, b)
    X : ndarray
        The rows for every call.

    Attributes
    ----------
    function, argument
        A call is `function(argument)`.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    function: Callable[[Any], Any]
    argument: Any

    def __init__(self, net: Net, weights: Weights, X: np.ndarray) -> None:
        self.argument, self.threads = X, n_cores()

    @property
    def thread_choices(self) -> Sequence[int]:
        """Numbers of threads that it can be asked to use; empty if it decides by itself."""
        return ()

    def on_threads(self) -> contextlib.AbstractContextManager[Any]:
        """Hold the side to `threads` while it works."""
        return contextlib.nullcontext()

    def output(self) -> np.ndarray:
        """What a call returns."""
        with self.on_threads():
            return np.atleast_2d(np.asarray(self.function(self.argument)))

    def sample(self, n_calls: int) -> float:
        """Seconds of `n_calls` calls."""
        with self.on_threads():
            return measure.timed(self.function, self.argument)(n_calls)


class OurPredictor(Predictor):
    """fastmlp: its compiled predictor, or `predict_proba` if it has none."""

    name, package = OURS, "fastmlp"

    def __init__(self, net: Net, weights: Weights, X: np.ndarray) -> None:
        super().__init__(net, weights, X)
        network = network_for(Problem(net, weights, X, X, 1))
        compiled = getattr(network, "compile_predictor", None)
        self.is_compiled = compiled is not None
        self.function = network.predict_proba if compiled is None else compiled()
        if self.is_compiled and len(X) == 1:
            self.argument = X[0]  # a single row is its form for one sample


class SklearnPredictor(Predictor):
    """scikit-learn's `predict_proba`, or `predict` of its regressor."""

    name, package = cases.SKLEARN, "sklearn"

    def __init__(self, net: Net, weights: Weights, X: np.ndarray) -> None:
        super().__init__(net, weights, X)
        from .peers import SklearnTrainer

        y = np.zeros(1, np.int64 if net.task == "classes" else np.float32)
        model = SklearnTrainer(Problem(net, weights, X[:1], y, 1)).model
        self.function = model.predict_proba if net.task == "classes" else model.predict

    @property
    def thread_choices(self) -> Sequence[int]:
        return one_or_all_cores()

    def on_threads(self) -> contextlib.AbstractContextManager[Any]:
        return blas_threads(self.threads)


class TorchPredictor(Predictor):
    """PyTorch, eager, without gradients, from tensor to tensor."""

    name, package = cases.TORCH, "torch"

    def __init__(self, net: Net, weights: Weights, X: np.ndarray) -> None:
        super().__init__(net, weights, X)
        import torch

        from .peers import torch_layers

        layers = torch_layers(weights, net.activation)
        if net.task == "classes":
            layers.append(torch.nn.Softmax(dim=1))
        self.torch = torch
        self.function = torch.nn.Sequential(*layers).eval().requires_grad_(False)
        self.argument = torch.from_numpy(np.array(X))

    @property
    def thread_choices(self) -> Sequence[int]:
        return one_or_all_cores()

    def on_threads(self) -> contextlib.AbstractContextManager[Any]:
        self.torch.set_num_threads(self.threads)
        return contextlib.nullcontext()


class OnnxPredictor(Predictor):
    """ONNX Runtime, a session for each number of threads."""

    name, package = cases.ONNX, "onnxruntime"

    def __init__(self, net: Net, weights: Weights, X: np.ndarray) -> None:
        super().__init__(net, weights, X)
        import onnxruntime

        self.argument, self._calls = {"X": X}, {}
        for threads in self.thread_choices:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(
                _onnx_model(net, weights), options, providers=["CPUExecutionProvider"]
            )
            self._calls[threads] = functools.partial(session.run, None)

    @property
    def thread_choices(self) -> Sequence[int]:
        return one_or_all_cores()

    def on_threads(self) -> contextlib.AbstractContextManager[Any]:
        self.function = self._calls[self.threads]
        return contextlib.nullcontext()

    def output(self) -> np.ndarray:
        return super().output()[0]


def _onnx_model(net: Net, weights: Weights) -> bytes:
    """The net as ONNX operators, serialised."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, arrays, last = [], [], "X"
    for number, (W, b) in enumerate(weights):
        arrays += [
            numpy_helper.from_array(W, f"W{number}"),
            numpy_helper.from_array(b, f"b{number}"),
        ]
        nodes.append(helper.make_node("Gemm", [last, f"W{number}", f"b{number}"], [f"z{number}"]))
        last = f"z{number}"
        if number < len(weights) - 1:
            kind = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[net.activation]
            nodes.append(helper.make_node(kind, [last], [f"a{number}"]))
            last = f"a{number}"
    if net.task == "classes":
        nodes.append(helper.make_node("Softmax", [last], ["p"], axis=1))
        last = "p"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("X", net.sizes[0]), (last, net.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], arrays)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()


def _sigmoid_in_place(X: np.ndarray) -> None:
    np.negative(X, out=X)
    np.exp(X, out=X)
    X += 1
    np.reciprocal(X, out=X)


_IN_PLACE: dict[str, Callable[[np.ndarray], Any]] = {
    "relu": lambda X: np.maximum(X, 0, out=X),
    "tanh": lambda X: np.tanh(X, out=X),
    "sigmoid": _sigmoid_in_place,
}


class NumpyPredictor(Predictor):
    """The formulas in NumPy, in place where that is possible."""

    name, package = cases.NUMPY, "numpy"

    def __init__(self, net: Net, weights: Weights, X: np.ndarray) -> None:
        super().__init__(net, weights, X)
        hidden, (W_last, b_last) = weights[:-1], weights[-1]
        activate = _IN_PLACE[net.activation]

        def outputs(X: np.ndarray) -> np.ndarray:
            for W, b in hidden:
                X = X @ W
                X += b
                activate(X)
            X = X @ W_last
            X += b_last
            return X

        def probabilities(X: np.ndarray) -> np.ndarray:
            Z = outputs(X)
            Z -= Z.max(axis=1, keepdims=True)
            np.exp(Z, out=Z)
            Z /= Z.sum(axis=1, keepdims=True)
            return Z

        self.function = probabilities if net.task == "classes" else outputs

    @property
    def thread_choices(self) -> Sequence[int]:
        return one_or_all_cores()

    def on_threads(self) -> contextlib.AbstractContextManager[Any]:
        return blas_threads(self.threads)


PREDICTORS: dict[str, type[Predictor]] = {
    predictor.name: predictor
    for predictor in (SklearnPredictor, TorchPredictor, OnnxPredictor, NumpyPredictor)
}
