"""A network in a drawn sequence of calls, beside a copy of it that is given plain arrays.

What a network takes in an odd layout must lead to the same numbers as plain arrays do; what it
refuses must change nothing; its outputs are those of a few lines of NumPy on its parameters.
"""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from fastmlp import Dense, Network
from fastmlp.nn import ELU, GELU, Dropout, Identity, LeakyReLU, ReLU, Rescaling, Sigmoid, Tanh
from fastmlp.nn.losses import LOSSES
from fastmlp.optim.optimizers import OPTIMIZERS

from ...support import Own
from .. import guarded
from . import draw
from .case import Case, Ended, Raised, Refused
from .draw import Drawn, chance, one_of
from .estimators import out_of_band, run_threads

_FUNCTIONS: dict[type, Callable[[np.ndarray], np.ndarray]] = {
    ReLU: lambda z: np.maximum(z, 0), Tanh: np.tanh, Identity: lambda z: z, Dropout: lambda z: z,
}  # fmt: skip
_BAD = ("X: not finite", "X: other width", "X: other length", "X: empty", "X: 1-d", "X: 3-d",
    "X: text",
        "X: complex", "X: dates", "X: none", "X: 0-d", "X: ragged", "sparse: places outside",
        "y: not finite", "y: other length", "y: empty", "y: none", "weights: not finite",
        "weights: negative", "weights: all zero", "weights: other length", "weights: text",
        "weights: complex", "weights: dates", "y: complex", "y: dates", "y: NaT",
        "y: 0-d")  # fmt: skip


def _has_rows(value: Any) -> bool:
    return (
        value.ndim > 0 if isinstance(value, np.ndarray) else isinstance(value, list) and value != []
    )


class Beside:
    """A network and its copy."""

    def __init__(self, case: Case) -> None:
        rng, self.case = case.rng, case
        self.n, self.d = int(one_of(rng, 4, 6, 13, 40)), int(one_of(rng, 1, 3, 8, 16))
        self.X = rng.normal(size=(self.n, self.d)).astype(one_of(rng, "f4", "f8", "f8"))
        loss = one_of(rng, *LOSSES.names)
        self.y, self.n_out = _targets_of(loss, rng, self.n)
        sizes = [int(one_of(rng, 1, 4, 9, 33)) for _ in range(int(rng.integers(0, 3)))]
        layers: list[Any] = [] if chance(rng, 0.9) else [Rescaling(0.5)]
        for size in sizes:
            layers += [Dense(size, max_norm=one_of(rng, None, None, None, 0.5)), _activation(rng)]
            if chance(rng, 0.15):
                layers.append(Dropout(0.2))
            if chance(rng, 0.07):
                layers.append(Own())
        layers.append(Dense(self.n_out))
        self.net = Network(
            layers, loss, one_of(rng, "float32", "float64"), int(rng.integers(100)),
            l1=one_of(rng, 0.0, 0.0, 0.01), l2=one_of(rng, 0.0, 0.1),
        )  # fmt: skip
        self.knows_y = True  # whether its last fit was on targets like self.y
        case.tell(f"{self.net!r}, {self.n} x {self.d} {self.X.dtype}")

    def run(self) -> None:
        rng = self.case.rng
        self.fit()
        for _ in range(int(rng.integers(1, 7))):
            one_of(
                rng, self.fit, self.fit_as_it_is, self.predict, self.predict, self.evaluate,
                self.gradient, self.set_params, self.set_params, self.set_layer, self.set_attribute,
                self.copy, self.copy, self.save, self.serve, self.serve, self.threads,
                self.misbehave,
                self.validate, self.step,
            )()  # fmt: skip
            self.look()

    # ------------------------------------------------------------------ steps

    def _both(self, step: str, call: Callable[..., Any], given: tuple[Drawn, ...]) -> Any:
        """The network's answer to odd values, which must be its copy's to plain ones."""
        labels = [drawn.label for drawn in given if drawn.label]
        labels += [] if self.knows_y else ["y: unlike that of a fit"]
        step = f"{step} {labels}" if labels else step
        values = [drawn.value for drawn in given]
        if "X: other width" in labels and not self.net.is_built:
            raise Ended
        twin = copy.deepcopy(self.net)
        before = self.net.params.tobytes()
        found = self.case.attempt(step, lambda: call(self.net, *values), values)
        if isinstance(found, Refused):
            if not labels and not _diverges(found):
                self.case.fail(f"{step}: {found.error!r:.300}")
            # A network that gets its sizes may draw its first parameters.
            if before and self.net.params.tobytes() != before and not _diverges(found):
                self.case.fail(f"{step}: refused, but parameters changed")
            if not np.isfinite(self.net.params).all():
                raise Ended
            return found
        if set(labels) & set(_BAD):
            self.case.fail(f"{step}: answered")
            raise Ended
        if any(drawn.plain is None and drawn.value is not None for drawn in given):
            return found
        clean = [None if drawn.value is None else drawn.plain for drawn in given]
        wanted = self.case.attempt(f"{step}, plain", lambda: call(twin, *clean))
        if isinstance(wanted, Refused):
            self.case.fail(
                f"{step}: answered, where the same numbers plainly were {wanted.error!r:.200}"
            )
            raise Ended
        tolerance = 1e-9 if self.net.dtype == np.float64 else 2e-4
        if not _same(self.net.params, twin.params, tolerance):
            self.case.fail(f"{step}: other parameters than from plain arrays")
        if (
            isinstance(found, np.ndarray)
            and found.dtype.kind == "f"
            and not _same(found, wanted, tolerance)
        ):
            self.case.fail(f"{step}: other answers than for plain arrays")
        return found

    def _data(self, spoil: float = 0.15) -> tuple[Drawn, Drawn, Drawn]:
        rng, folder = self.case.rng, self.case.folder
        X = draw.rows(rng, self.X, folder, spoil)
        return X, draw.targets(rng, self.y, folder, spoil), draw.weights(rng, self.n, folder)

    def _options(self) -> dict[str, Any]:
        rng = self.case.rng
        return {
            "optimizer": one_of(rng, *OPTIMIZERS.names, OPTIMIZERS["sgd"](0.01, momentum=0.9),
                _Plain()),
            "epochs": one_of(rng, 1, 2), "batch_size": one_of(rng, 1, 3, 8, 32, 1000),
            "shuffle": one_of(rng, True, False), "n_threads": one_of(rng, None, 1, 2, 3),
            "keep_finite": chance(rng, 0.2),
        }  # fmt: skip

    def fit(self) -> None:
        options = self._options()
        X, y, w = self._data()
        found = self._both(
            f"fit {options}",
            lambda net, X, y, w: net.fit(X, y, sample_weight=w, **options),
            (X, y, w),
        )
        self.knows_y &= isinstance(found, Refused) or not y.label

    def fit_as_it_is(self) -> None:
        options = self._options()
        self._both(f"fit {options}", lambda net, X, y: net.fit(X, y, **options),
                   (Drawn(self.X, "", self.X), Drawn(self.y, "", self.y)))  # fmt: skip

    def predict(self) -> None:
        if not self.net.is_built:
            return
        name = one_of(self.case.rng, "outputs", "predict_proba", "predict")
        if name == "predict" and self.net.coder is None:
            return
        X = draw.rows(self.case.rng, self.X, self.case.folder)
        if X.label == "X: other length":
            X = Drawn(X.value, "", X.value)
        found = self._both(name, lambda net, X: getattr(net, name)(X), (X,))
        if isinstance(found, np.ndarray) and found.dtype.kind == "f" and np.isnan(found).any():
            self.case.fail(f"{name}: silent nan")

    def evaluate(self) -> None:
        if self.net.coder is not None:
            self._both(
                "evaluate", lambda net, X, y, w: np.array(net.evaluate(X, y, w)), self._data()
            )

    def gradient(self) -> None:
        X, y, w = self._data()
        found = self._both(
            "loss_and_gradient", lambda net, X, y, w: net.loss_and_gradient(X, y, w)[1], (X, y, w)
        )
        self.knows_y &= (
            isinstance(found, Refused) or not y.label
        )  # a first one learns the kind of y

    def validate(self) -> None:
        """Held-out rows of every wrong kind."""
        X, y, w = self._data(0.5)
        if one_of(self.case.rng, True, False):
            w = Drawn(None)
        self.case.attempt(
            f"fit with validation_data {X.label} {y.label} {w.label}",
            lambda: self.net.fit(self.X, self.y, epochs=1,
                validation_data=(X.value, y.value, w.value)),
            [X.value, y.value, w.value],
        )  # fmt: skip

    def set_params(self) -> None:
        """`net.params = best`, the usual way to bring weights back, and other values."""
        rng = self.case.rng
        if not self.net.is_built:
            return
        name = one_of(rng, "params", "params", "params", "grads")
        drawn = draw.vector_like(rng, getattr(self.net, name))
        before = self.net.params.copy()
        found = self.case.attempt(
            f"{name} = {drawn.label}",
            lambda: setattr(self.net, name, drawn.value),
            [drawn.value],
            (AttributeError,),
        )
        array = getattr(self.net, name)
        if getattr(array, "dtype", None) != self.net.dtype or array.shape != before.shape:
            self.case.fail(f"{name} took {drawn.label}: it is no vector of parameters any more")
            raise Ended
        if name == "grads":
            return
        if isinstance(found, Refused):
            wanted: Any = before
        elif drawn.plain is None:
            return
        else:
            wanted = np.asarray(drawn.plain, self.net.dtype)
        self._expect("params", wanted)

    def _expect(self, what: str, wanted: np.ndarray) -> None:
        """Parameters are these for everybody: the network, its layers, predictions and files."""
        net = self.net
        views = net.named_parameters().values() if net.is_built else ()
        shown = np.sort(np.concatenate([np.empty(0), *map(np.ravel, views)]))
        same = np.array_equal(net.params, wanted, equal_nan=True)
        if not same or not np.array_equal(shown, np.sort(np.float64(wanted)), equal_nan=True):
            self.case.fail(f"{what} set, but the layers or the network hold others")
            raise Ended

    def set_layer(self) -> None:
        rng = self.case.rng
        dense = [
            layer for layer in self.net.layers if isinstance(layer, Dense) and layer.parameters
        ]
        if not dense:
            return
        layer, key = one_of(rng, *dense), one_of(rng, "W", "b")
        drawn = draw.vector_like(rng, getattr(layer, key))
        kind = one_of(rng, "attribute", "attribute", "parameters", "gradients", "named", "d")
        places: dict[str, Callable[[], None]] = {
            "attribute": lambda: setattr(layer, key, drawn.value),
            "parameters": lambda: layer.parameters.__setitem__(key, drawn.value),
            "gradients": lambda: layer.gradients.__setitem__(key, drawn.value),
            "named": lambda: self.net.named_parameters().__setitem__(f"0.{key}", drawn.value),
            "d": lambda: setattr(layer, "d" + key, drawn.value),
        }  # fmt: skip
        found = self.case.attempt(
            f"{layer!r} {kind} {key} = {drawn.label}",
            places[kind],
            [drawn.value],
            (AttributeError,),
        )
        if kind != "attribute" or isinstance(found, Refused) or drawn.plain is None:
            return
        wanted = np.asarray(drawn.plain, self.net.dtype)
        if not np.array_equal(getattr(layer, key), wanted, equal_nan=True):
            self.case.fail(f"{layer!r}.{key} set, but it holds other numbers")

    def set_attribute(self) -> None:
        """Swap anything else that can be reached; whatever is taken may not crash later."""
        rng, net = self.case.rng, self.net
        layer = one_of(rng, *net.layers)
        changes: dict[str, Callable[[], Any]] = {
            "dtype = float64": lambda: setattr(net, "dtype", np.dtype("float64")),
            "dtype = float32": lambda: setattr(net, "dtype", np.dtype("float32")),
            "dtype = text": lambda: setattr(net, "dtype", "float16"),
            "n_features + 1": lambda: setattr(net, "n_features", net.n_features + 1),
            "n_features = 0": lambda: setattr(net, "n_features", 0),
            "n_outputs + 5": lambda: setattr(net, "n_outputs", net.n_outputs + 5),
            "layers[-1:] gone": lambda: setattr(net, "layers", net.layers[:-1]),
            "layers.append": lambda: net.layers.append(Dense(50)),
            "layers[0] = ": lambda: net.layers.__setitem__(0, Dense(net.n_features or 2, 200)),
            "layers.pop": lambda: net.layers.pop(),
            "layers = others": lambda: setattr(net, "layers", [Dense(100), ReLU(), Dense(7)]),
            "layers reversed": lambda: net.layers.reverse(),
            "loss": lambda: setattr(net, "loss", LOSSES.make(one_of(rng, *LOSSES.names), object)),
            "loss = text": lambda: setattr(net, "loss", "mean_squared_error"),
            "loss = none": lambda: setattr(net, "loss", None),
            "levels": lambda: setattr(net, "loss", LOSSES["quantile"]((0.1, 0.2, 0.3, 0.4, 0.5))),
            "n_out": lambda: setattr(layer, "n_out", 300),
            "n_in": lambda: setattr(layer, "n_in", 300),
            "n_out none": lambda: setattr(layer, "n_out", None),
            "n_out -1": lambda: setattr(layer, "n_out", -1),
            "max_norm": lambda: setattr(layer, "max_norm", one_of(rng, 0.0, -1, "x", np.nan)),
            "rate": lambda: setattr(layer, "rate", one_of(rng, 1.0, -1, 2.0, np.nan, "x")),
            "alpha": lambda: setattr(layer, "alpha", one_of(rng, np.nan, "x", None, 1e300)),
            "kernel": lambda: setattr(layer, "kernel", one_of(rng, 10**6, None, GELU.kernel)),
            "groups = []": lambda: setattr(net, "groups", []), "groups moved": lambda: _move(net),
            "seed": lambda: setattr(net, "seed", one_of(rng, -1, 2**70, None, "x")),
            "l2": lambda: setattr(net, "l2", one_of(rng, np.nan, -1, "x", None)),
            "coder": lambda: setattr(net, "coder", None),
            "classes": lambda: setattr(net, "classes_", np.arange(50)),
            "coder classes": lambda: setattr(net.coder, "classes", np.arange(1)),
            "params.shape": lambda: setattr(net.params, "shape", (1, -1)),
            "params.dtype": lambda: setattr(net.params, "dtype", np.uint8),
            "params read-only": lambda: net.params.setflags(write=False),
            "grads read-only": lambda: net.grads.setflags(write=False),
            "params.resize": lambda: net.params.resize(3),
            "build": lambda: net.build(one_of(rng, 1, net.n_features or 4, 40)),
            "spare_engines": lambda: setattr(net, "spare_engines", None),
            "delete": lambda: delattr(net,
                one_of(rng, "params", "grads", "layers", "loss", "coder")),
            "layer.build": lambda: layer.build(17),
            "feature_names": lambda: setattr(net, "feature_names", one_of(rng, ("a",), 3, [None])),
        }  # fmt: skip
        name = one_of(rng, *changes)
        self.case.tell(name)
        with contextlib.suppress(Exception):  # any refusal will do
            changes[name]()
        # What is taken though it is nonsense may raise anything later, as long as nothing crashes.
        width = one_of(rng, self.d, self.d, 300)
        X = np.zeros((self.n, width))
        for step, call in {
            "outputs": lambda: net.outputs(X), "predict": lambda: net.predict(X),
            "fit": lambda: net.fit(X, self.y, epochs=1),
            "own fit": lambda: net.fit(X, self.y, epochs=1, optimizer=_Plain()),
            "evaluate": lambda: net.evaluate(X, self.y),
            "gradient": lambda: net.loss_and_gradient(X, self.y),
            "predictor": lambda: net.compile_predictor()(X[0]),
            "copy": lambda: pickle.loads(pickle.dumps(net)).outputs(X),
            "again": lambda: net.outputs(X),
        }.items():  # fmt: skip
            self.case.tell(f"{step} after {name}")
            with contextlib.suppress(Exception), np.errstate(all="ignore"):
                call()
        raise Ended

    def copy(self) -> None:
        how = one_of(
            self.case.rng, "pickle", "deepcopy", "copy", "out of band", "read-only", "joblib"
        )

        def copied() -> Network:
            if how == "pickle":
                found: Network = pickle.loads(pickle.dumps(self.net))
            elif how == "deepcopy":
                found = copy.deepcopy(self.net)
            elif how == "copy":
                found = copy.copy(self.net)
            elif how == "joblib":
                import joblib

                path = self.case.folder / f"net{int(self.case.rng.integers(1 << 30))}"
                joblib.dump(self.net, path)
                found = joblib.load(path, mmap_mode=one_of(self.case.rng, "r", "r+", "c"))
            else:
                text, buffers = out_of_band(self.net)
                found = pickle.loads(text, buffers=buffers)
            return found

        before = self.net.params.copy()
        found = self.case.attempt(f"copy by {how}", copied)
        if isinstance(found, Refused):
            self.case.fail(f"copy by {how}: {found.error!r}")
            raise Ended
        former, self.net = self.net, found
        self._expect(f"copy by {how}: parameters", before)
        if chance(self.case.rng, 0.5):  # both go on
            self.fit_as_it_is()
            if not np.array_equal(former.params, before):
                self.case.fail(f"copy by {how}: a fit of the copy changed the original")

    def save(self) -> None:
        path = self.case.folder / f"net{int(self.case.rng.integers(1 << 30))}.safetensors"
        saved = self.case.attempt("save", lambda: self.net.save(path))
        if isinstance(saved, Refused):
            return
        custom = [Own] if any(isinstance(layer, Own) for layer in self.net.layers) else []
        loaded = self.case.attempt("load", lambda: Network.load(path, custom=custom))
        if isinstance(loaded, Refused):
            self.case.fail(f"saved, but then {loaded.error!r}")
            return
        before, self.net = self.net.params.copy(), loaded
        self._expect("load: parameters", before)

    def serve(self) -> None:
        """A predictor with odd rows and odd places for its answers."""
        rng, net = self.case.rng, self.net
        predictor = self.case.attempt("compile_predictor", net.compile_predictor)
        if isinstance(predictor, Refused):
            return
        if chance(rng, 0.2):
            predictor = pickle.loads(pickle.dumps(predictor))
        one_row = chance(rng, 0.6)
        values = self.X.astype(net.dtype) if chance(rng, 0.7) else self.X
        X = draw.rows(rng, values, self.case.folder, 0.3)
        value, clean = X.value, X.plain
        if one_row:
            value = value[0] if _has_rows(value) and len(value) else value
            clean = clean[0] if isinstance(clean, np.ndarray) and clean.size else clean
        clean = np.array(clean) if isinstance(clean, np.ndarray) else clean  # out may be X
        shape = (self.n_out,) if one_row else (self.n, self.n_out)
        out = self._out(shape)
        found = self.case.attempt(
            f"predictor {X.label}, out {out.label}", lambda: predictor(value, out.value),
            [value] if out.value is not value else [],
        )  # fmt: skip
        if isinstance(found, Refused):
            if not X.label and not out.label and not sparse.issparse(value):
                self.case.fail(f"predictor: {found.error!r:.200}")
            return
        if out.label.startswith("bad"):
            self.case.fail(f"predictor: took out {out.label}")
        if out.value is not None and found is not out.value:
            self.case.fail("predictor: another array than out")
        if (
            isinstance(clean, np.ndarray)
            and clean.size == np.size(value)
            and found.shape == (*clean.shape[:-1], self.n_out)
            and clean.shape[-1] == self.d
            and np.isfinite(clean.astype(float)).all()
        ):
            wanted = net.predict_proba(clean.reshape(-1, self.d)).reshape(found.shape)
            if not np.allclose(found, wanted, rtol=1e-5, atol=1e-6):
                self.case.fail(f"predictor {X.label}, out {out.label}: differs from predict_proba")

    def _out(self, shape: tuple[int, ...]) -> Drawn:
        rng, dtype = self.case.rng, self.net.dtype
        good = np.empty(shape, dtype)
        other = np.float64 if dtype == np.float32 else np.float32
        return one_of(
            rng, Drawn(None), Drawn(None), Drawn(good), Drawn(good),
            Drawn(np.empty(shape, other), "bad: type"),
            Drawn(np.empty((*shape, 1), dtype), "bad: shape"),
            Drawn(np.empty(shape[0] + 1, dtype), "bad: shape"),
            Drawn(np.empty(0, dtype), "bad: shape"),
            Drawn(guarded.read_only(good), "bad: read-only"),
            Drawn(np.empty(shape, dtype.newbyteorder()), "bad: swapped"), Drawn("out", "bad: text"),
            Drawn(np.empty((*shape[:-1], 2 * shape[-1]), dtype)[..., ::2], "strided"),
            Drawn(draw.unaligned(np.zeros(shape, dtype)), "unaligned"),
            Drawn(good[::-1], "strided"),
            Drawn(self.X[0] if self.X.dtype == dtype and self.X.shape[1:] == shape else None,
                "same as X"),
            Drawn(np.ma.masked_array(good, False), "masked"), Drawn([0.0] * shape[0], "bad: list"),
        )  # fmt: skip

    def threads(self) -> None:
        """Three threads with one network and one predictor; fits at once may only not crash."""
        net, X, rng = self.net, self.X, self.case.rng
        if not net.is_built:
            return
        writes = one_of(rng, "", "", "fit", "params", "gradient")
        predictor = self.case.attempt("compile_predictor", net.compile_predictor)
        wanted = self.case.attempt("predict_proba", lambda: net.predict_proba(X))
        if isinstance(predictor, Refused) or isinstance(wanted, Refused):
            return
        found: list[Any] = []

        def work(number: int) -> None:
            with guarded.arrays(), np.errstate(all="ignore"), contextlib.suppress(Exception):
                for _ in range(3):
                    if writes == "fit" and number:
                        net.fit(X, self.y, epochs=1, batch_size=3)
                    elif writes == "params" and number:
                        net.params = np.ones_like(net.params)
                    elif writes == "gradient" and number:
                        net.loss_and_gradient(X, self.y)
                    found.append((net.predict_proba(X), predictor(X)))

        self.case.tell(f"threads {writes}")
        run_threads(work)
        if writes:
            raise Ended
        if len(found) != 9:
            self.case.fail(f"threads: {9 - len(found)} calls raised")
        for first, second in found:
            if not np.array_equal(first, wanted) or not np.allclose(
                second, wanted, rtol=1e-5, atol=1e-6
            ):
                self.case.fail("threads: other predictions")
                raise Ended

    def misbehave(self) -> None:
        """A callback that does what nobody should in the middle of a fit."""
        rng = self.case.rng
        net, X, y = self.net, self.X.copy(), self.y.copy()
        rows = sparse.csr_matrix(X) if chance(rng, 0.3) else X
        what = one_of(
            rng, "raise", "stop", "fit", "params", "params type", "grads", "layers", "build",
            "interrupt",
            "X", "y", "dtype", "pickle", "predict", "odd answer", "loss", "bind", "indices",
        )  # fmt: skip

        def callback(network: Network, history: Any) -> Any:
            if what == "raise":
                raise Raised(what)
            if what == "interrupt":
                raise KeyboardInterrupt
            if what == "fit":
                network.fit(self.X, self.y, epochs=1)
            elif what == "params":
                network.params = np.zeros_like(network.params)
            elif what == "params type":
                network.params = np.zeros(3, np.float16)
            elif what == "grads":
                network.grads = np.zeros(1, network.dtype)
            elif what == "layers":
                network.layers[-1] = Dense(100)
            elif what == "build":
                network.build(network.n_features)
            elif what == "bind":
                network.__setstate__(network.__getstate__())
            elif what == "X" and isinstance(rows, np.ndarray):
                rows[...] = np.nan
            elif what == "indices" and sparse.issparse(rows) and rows.nnz:
                rows.indices[...] = 10**6
            elif what == "y":
                y[...] = 100 if y.dtype.kind in "iu" else y[0]
            elif what == "dtype":
                network.dtype = np.dtype("float64")
            elif what == "loss":
                network.loss = LOSSES["mean_squared_error"]()
            elif what == "pickle":
                pickle.loads(pickle.dumps(network))
            elif what == "predict":
                network.predict_proba(X)
            elif what == "odd answer":
                return np.array([1, 2])
            return what == "stop"

        self.case.tell(f"fit with a callback: {what}")
        options = self._options() | {"epochs": 3}
        with contextlib.suppress(Exception, KeyboardInterrupt), np.errstate(all="ignore"):
            net.fit(rows, y, callbacks=[callback], **options)
        if what not in ("raise", "stop", "pickle", "predict", "odd answer", "interrupt", "X"):
            self.case.tell("outputs after that")
            with contextlib.suppress(Exception), np.errstate(all="ignore"):
                net.outputs(self.X)
            raise Ended
        if what == "X":
            raise Ended

    def step(self) -> None:
        """The step of an optimizer by hand, with arrays that fit and others."""
        rng, net = self.case.rng, self.net
        if not net.is_built:
            return
        optimizer = OPTIMIZERS[one_of(rng, *OPTIMIZERS.names)](clip_norm=one_of(rng, None, 0.5))
        state = optimizer.initial_state(net.params.size, net.dtype)
        numbers = optimizer.step_numbers(0, np.array([0.01]))[0]
        arrays = {"numbers": numbers, "params": net.params, "grads": net.grads, "state": state}
        which = one_of(rng, None, *arrays)
        label = ""
        if which is not None:
            drawn = draw.vector_like(rng, arrays[which])
            arrays[which], label = drawn.value, f"{which} {drawn.label}"
        groups = (
            net.groups if chance(rng, 0.8) else [g._replace(start=g.start + 7) for g in net.groups]
        )
        self.case.attempt(
            f"{optimizer.name}.update {label}",
            lambda: optimizer.update(arrays["numbers"], groups, arrays["params"], arrays["grads"],
                arrays["state"]),
            (), (AttributeError,),
        )  # fmt: skip
        if not np.isfinite(net.params).all():
            raise Ended

    # ------------------------------------------------------------------ invariants

    def look(self) -> None:
        """Outputs are what NumPy makes of the parameters that layers show."""
        net = self.net
        if not net.is_built or any(type(layer) not in (*_FUNCTIONS, Dense) for layer in net.layers):
            return
        if not np.isfinite(net.params).all() or abs(net.params).max(initial=0) > 1e4:
            return
        values = self.X.astype(net.dtype).astype(np.float64)
        for layer in net.layers:
            if isinstance(layer, Dense):
                values = values @ np.float64(layer.W) + layer.b
            else:
                values = _FUNCTIONS[type(layer)](values)
        found = self.case.attempt("outputs", lambda: net.outputs(self.X), [self.X])
        if isinstance(found, Refused):
            self.case.fail(f"outputs: {found.error!r:.200}")
        elif not np.allclose(
            found, values, rtol=1e-3, atol=1e-3 * max(1, abs(values).max(initial=0))
        ):
            self.case.fail("outputs: not those of the parameters that the layers show")
            raise Ended


class _Plain:
    """An optimizer of the user's own."""

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        params -= 0.01 * grads

    def __repr__(self) -> str:
        return "own"


def _move(net: Network) -> None:
    net.groups = [group._replace(start=group.start + 10**6) for group in net.groups]


def _activation(rng: np.random.Generator) -> Any:
    kind = one_of(rng, ReLU, ReLU, Tanh, Tanh, Identity, Sigmoid, GELU, ELU, LeakyReLU)
    return kind()


def _targets_of(loss: str, rng: np.random.Generator, n: int) -> tuple[np.ndarray, int]:
    """Targets that fit a loss, and how many outputs they have."""
    task, k = LOSSES[loss].task, int(rng.integers(1, 4))
    if task == "classes":
        y = np.arange(n) % 3
        return one_of(rng, (y, 3), (y, 3), (np.eye(3)[y], 3), (np.array(["a", "b", "c"])[y], 3))
    if task == "binary":
        y = np.arange(n) % 2
        return one_of(rng, (y, 1), (y > 0, 1), ((rng.random((n, k)) > 0.5) * 1.0, k))
    numbers = abs(rng.normal(size=(n, k)))
    return (numbers[:, 0].copy(), 1) if k == 1 or loss == "quantile" else (numbers, k)


def _same(a: Any, b: Any, tolerance: float) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


def _diverges(found: Refused) -> bool:
    text = str(found.error)
    return "finite" in text or "can hold" in text


def run(case: Case) -> None:
    """A case of this kind."""
    Beside(case).run()
