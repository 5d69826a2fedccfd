"""Compilation: what is compiled, how often, to which machine code, and where it is kept.

Each test uses a separate process. Some of them compile the whole step again, because code loaded
from a cache has no assembly; the other tests use the cache that those have filled.
"""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from fastmlp.kernels.compiler.folder import cache_folder
from fastmlp.kernels.compiler.jit import JIT_ENABLED, VECTOR_BYTES
from fastmlp.kernels.compiler.target import WIDEST
from fastmlp.kernels.tuning import TILE_ROWS, VECTORS
from fastmlp.network import Network
from fastmlp.nn import GELU, Dense, Dropout

from ..support import kernels_by_address, name_of

pytestmark = [
    pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled"),
    pytest.mark.slow,  # most tests compile every kernel in a cache of their own
]

PACKAGE = Path(__file__).resolve().parents[2] / "fastmlp"


def run(code: str, package: Path = PACKAGE, **environment: str) -> Any:
    """What a process that imports this copy of the package prints last, as JSON."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK")
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=kept | {"PYTHONPATH": str(package.parent)} | environment,
        cwd=package.parent,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def copied(folder: Path) -> Path:
    """A copy of the package without anything compiled."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, folder / "fastmlp", ignore=ignored))


# Every function of the kernels by its module and name; and those that programs
# call by address, as tests.support names them, which is how the copies of the package come by it.
KERNELS = f"""
import importlib, json, pkgutil, sys
import numpy as np
import fastmlp.kernels
from fastmlp import *
sys.path.append({str(PACKAGE.parent)!r})
from tests.support import kernels_by_address, name_of

def kernels():
    for info in pkgutil.walk_packages(fastmlp.kernels.__path__, "fastmlp.kernels."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if hasattr(value, "py_func") and value.py_func.__module__ == module.__name__:
                yield f"{{info.name.rpartition('.')[2]}}.{{name}}", value

def compilations(kernel):
    # How many types of arguments there is code for: of its own, or as a part of other kernels.
    return len(set(kernel.signatures) | set(kernel.parts.compiled))

def loaded():
    # Of each kernel that was asked for its address: for each type, whether it was in the cache.
    return {{
        name_of(kernel): {{dtype.name: found for dtype, found in kernel.loaded.items()}}
        for kernel in kernels_by_address() if kernel.loaded
    }}
"""

# ---------------------------------------------------------------- one specialisation a type

FITS = """
import pathlib, tempfile
from dataclasses import replace
from scipy import sparse
from fastmlp.nn import LAYERS, ACTIVATIONS
from fastmlp.nn.losses import LOSSES
from fastmlp.optim.optimizers import OPTIMIZERS
from fastmlp import fit_many
from fastmlp.inputs.tables import without_zeros
from fastmlp.kernels.products import blocking

blocking.WEIGHTS_PART = 0.0  # pack weights whatever the caches of this machine hold

class Own(Layer):  # has no kernel, so that the network is trained layer by layer
    name = "own"
    def forward(self, X, training=False):
        return X
    def backward(self, dY):
        return dY

n = 12
whole = np.random.default_rng(0).integers(0, 9, (n, 6))
read_only = whole.astype(np.float64)
read_only.flags.writeable = False
single = whole.astype(np.float32)
unaligned = np.frombuffer(b"x" + single.tobytes(), np.uint8)[1:].view(np.float32).reshape(n, 6)
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    np.save(pathlib.Path(folder) / "X.npy", single)
    mapped = np.load(pathlib.Path(folder) / "X.npy", mmap_mode="r")
dense = [
    single, single[:, ::2], single[::-1], single[:, ::-1], read_only, unaligned, single[:, :1],
    np.asfortranarray(whole, np.float64), whole.astype(np.float64)[::-1, 1:], single.astype(">f4"),
    whole.astype(np.uint8), np.asfortranarray(whole, np.uint8), whole, whole > 3,
    whole.astype(np.float16), np.asfortranarray(whole, np.float16),
    mapped, mapped[:, 1:5],
]
sparse_read_only = sparse.csr_array(single)
sparse_read_only.data.flags.writeable = sparse_read_only.indices.flags.writeable = False
matrices = [
    *dense, whole.tolist(), sparse_read_only,
    *(kind(X) for kind in (sparse.csr_array, sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array)
      for X in (whole, whole > 3, whole.astype(np.uint8), single, read_only)),
]
# Options as whole numbers, too: 1 must not be another type than 1.0.
activations = [
    *(kind() for kind in ACTIVATIONS), ELU(alpha=1), LeakyReLU(0), Dropout(0), Rescaling(2),
]
losses_ = [
    *(kind() for kind in LOSSES), SoftmaxCrossEntropy(0), SoftmaxCrossEntropy(0.1),
    BinaryCrossEntropy(0), Huber(1), Quantile((0.1, 0.5, 0.9)),
]
optimizers_ = [
    *(kind() for kind in OPTIMIZERS), SGD(1, momentum=0.5, nesterov=True, clip_norm=1),
    Adam(0.01, epsilon=0, clip_norm=0.5, weight_decay=0, factors={"*": 1}),
]
labels = np.arange(n) % 3
LABELS = {"classes": labels, "binary": np.eye(3, dtype=int)[labels]}

def fit(network, X=matrices[0], y=labels, **options):
    network.fit(X, y, epochs=1, batch_size=5, validation_data=(X, y), **options)
    network.predict(X), network.predict_proba(X), network.loss_and_gradient(X, y)

def serve(network, X):
    predictor, out = network.compile_predictor(), np.empty(3, network.dtype)
    predictor(X), predictor(X[0]), predictor(X[0], out), predictor(X[0], out.view())
    for weights in ("float16", "bfloat16"):
        network.compile_predictor(weights=weights)(X[0])

for dtype in ("float32", "float64"):
    for X in (np.eye(9, 200), np.eye(9, 200, dtype=np.float32)[::-1]):
        without_zeros(X, np.dtype(dtype), 300)
    for X in matrices:
        for first in ([Dense(4)], [Dropout(0.2), Dense(4)]):
            net = Network([*first, ReLU(), Dense(3)], dtype=dtype)
            fit(net, X)
            if not sparse.issparse(X):
                serve(net, X)
    for own in ([], [Own]):
        def network(*inner, **options):
            return Network([*inner, *(kind() for kind in own), Dense(3)], dtype=dtype, **options)

        for activation in activations:
            fit(network(Dense(33), replace(activation), Dropout(0.5)), n_threads=2)
        fit(network(Dense(9), Dropout(lambda step, n_steps: 0.5)))
        more = {"callbacks": [EMA()], "gradient_accumulation_steps": 2, "n_threads": 2}
        fit(network(Dense(9), ReLU()), **more)
        for loss in losses_:
            y = LABELS.get(loss.task, whole[:, :1 if len(getattr(loss, "levels", "1")) > 1 else 3])
            net = network(Dense(2), Tanh(), Dense(300), loss=loss, l1=1, l2=0.5)
            fit(net, y=y, sample_weight=np.arange(n))
        fit(network(Dense(2), Tanh()), y=np.full((n, 3), 1 / 3))  # targets, not labels
        for X in matrices[-5:]:
            fit(network(Dense(4), ReLU()), X)
        for optimizer in optimizers_:
            fit(network(Dense(2, max_norm=1), Dense(5, max_norm=0.5)), optimizer=optimizer)
    # R^2 in the network's own type, where targets have it.
    MLPRegressor(
        hidden_layer_sizes=(2,), early_stopping=True, validation_fraction=0.5, max_iter=1,
        learning_rate="cosine", dtype=dtype,
    ).fit(single.astype(dtype), whole[:, 0].astype(dtype))
    for X in (single, sparse_read_only):
        for hidden in ((), (Dense(1), Tanh(), Dense(3)), (Dense(9), Tanh(), Dense(7), Tanh())):
            fit(Network([*hidden, Dense(1)], "mean_squared_error", dtype=dtype), X, whole[:, 0])
    # Layers of kinds of their own, first and after others; what they learn stays as it is, so that
    # numbers of categories do.
    X, still = np.minimum(whole, 3).astype(dtype), {"optimizer": SGD(0), "n_threads": 2}
    for layer in (
        Scale(), PReLU(), ParametricActivation("mish"), LayerNorm(), BatchNorm(),
        GroupedDense(3), GroupedDense(2, 3), GroupedDense(1, 2), GroupedDense(5, 6),
        PiecewiseLinear(6 * [[0, 1, 3]]), Residual([Dense(6)]), Members(2), SharedDense(5, 2),
        Columns((0, [Embedding(4, 2)]), ([1, 2], [PReLU()])),
    ):
        layer.forward(X, training=True)
        layer.backward(layer.forward(X))
    for first in ([], [Scale()]):
        inner = Columns((0, [Embedding(4, 2)]), ([1, 2], [PReLU()]))
        rest = [BatchNorm(), Residual([LayerNorm(), Scale()]), PReLU(), Dense(3)]
        fit(Network([*first, inner, *rest], dtype=dtype), X, **still)
        numbers = [GroupedDense(4), Cosine(), GroupedDense(3, 4), ParametricActivation("tanh")]
        bins = [PiecewiseLinear(18 * [[0, 1, 3]]), GroupedDense(5, 2), GroupedDense(1, 5)]
        again = [Scale() for _ in first]
        fit(Network([*again, *numbers, *bins, Dense(3)], dtype=dtype), X, **still)
    for first in ([Members(3)], []):
        shared = [*first, SharedDense(4, 3), ReLU(), SharedDense(5, 3), GroupedDense(3, 5)]
        net = Network(shared, MeanOfMembers("softmax_cross_entropy", 3), dtype=dtype, l1=0.1)
        fit(net, X, gradient_accumulation_steps=2, n_threads=2)
        serve(net, X)
    # Threads that share out the inputs of the first op, narrow or wide, or of the second one.
    for widths in ((300, 40), (300, 300), (6, 40), (6, 300)):
        X = np.ones((n, widths[0]), dtype)
        net = Network([Dense(widths[1]), ReLU(), Dense(3)], dtype=dtype, l1=0.1)
        fit(net, X, n_threads=2)
        net.fit(X, labels, epochs=1, batch_size=1, n_threads=2)
    net = Network([Dense(9), ReLU(), Dense(7), ReLU(), Dense(3)], dtype=dtype)
    net.fit(whole, labels, epochs=1, batch_size=1)
    # Estimators watch the loss of training.
    patient = {"hidden_layer_sizes": (4,), "tol": 1e9, "n_iter_no_change": 1, "dtype": dtype}
    MLPRegressor(**patient).fit(np.ones((n, 3)), np.zeros(n))
    for n_threads in (1, 2):
        for widths in ((4, 5), (4, 4)):  # one by one, and side by side in lanes
            nets = [Network([Dense(width), Dense(3)], dtype=dtype) for width in widths]
            fit_many(nets, single, labels, epochs=2, n_threads=n_threads)
    nets = [Network([Dense(4), Dense(1)], "mean_squared_error", dtype=dtype) for _ in range(2)]
    fit_many(nets, whole[:, :3], whole[:, 0], epochs=2)
"""


# Kernels that every network needs: once for each type of its numbers.
BOTH = {
    "losses._softmax_rows",
    "losses.total_weight",
    "matmul.bias_gradient",
    "matmul.dense_forward",
    "matmul.input_gradient",
    "narrow.input_gradient",
    "optimizers.clip_factor",
    "optimizers.limit_columns",
    "optimizers.penalties",
    "optimizers.rescale",
    "outputs.outputs_of_table",
    "random.drop",
    "sparse.non_zeros_of_rows",
    "sparse.sparse_forward",
    "sparse.sparse_forward_to_one",
    "sparse.sparse_weight_gradient",
    "step.train_steps",
    "tiles.tile_width",
}
# Those that see no numbers of the network.
ONCE = {
    "denormals.flush_denormals",
    "denormals.restore_denormals",
    "losses.means_of_epochs",
    "losses.sum_rows",
    "random.shuffle",
    "random.stream_key",
}
# Those that a small program is made of, which only compiled code calls.
INSIDE = {
    "losses._softmax_rows",
    "losses._share_out",
    "matmul.bias_gradient",
    "matmul.dense_forward",
    "narrow.input_gradient",
    "narrow.times_input_gradient",
    "common.finish_forward",
    "common.inputs_of",
    "parameters.update",
    "random.drop",
    "rows.prefetch_tile",
    "shares.home",
    "step._step",
    "step.forward",
    "tiles.tile_height",
}
# Those that it has no use for.
OUTSIDE = {
    "matmul._transpose",
    "matmul.forward_parts",
    "matmul.forward_parts_packed",
    "matmul.input_gradient",
    "optimizers.clip_factor",
    "optimizers.limit_columns",
    "optimizers.penalties",
    "outputs.outputs_of_table",
    "sparse._non_zeros",
    "sparse.sort_by_columns",
    "sparse.sparse_forward",
    "sparse.sparse_weight_gradient",
}


# Those inside that also see numbers of the user's types.
INPUT_TYPES = {
    "elementary._times_power": 3,  # bits of int64 for float32, too
    "jit.itemsize": 4,  # float32, float64, uint8, uint16
    "rows._as_it_is": 3,  # all of these but the last, which stands for float16
}


def test_each_kernel_is_compiled_once_a_type(tmp_path: Path) -> None:
    """Whatever the architecture, options, memory order and number type of X, from an empty cache.

    Kernels that see no numbers of the network are compiled once.
    """
    code = f"""{KERNELS}{FITS}
counts = {{name: compilations(kernel) for name, kernel in kernels()}}
called = {{name_of(kernel): compilations(kernel.called) for kernel in kernels_by_address()}}
print(json.dumps([counts, called, loaded()]))
"""
    counts, called, addresses = run(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert {name: counts[name] for name in BOTH} == dict.fromkeys(BOTH, 2)
    assert {name: counts[name] for name in ONCE} == dict.fromkeys(ONCE, 1)
    more = {name: count for name, count in counts.items() if count > 2}
    assert more == INPUT_TYPES
    anew = {"float32": False, "float64": False}
    assert addresses == {name_of(kernel): anew for kernel in kernels_by_address()}
    # Layers and losses also call theirs from Python, which is code apart.
    assert {name: count for name, count in called.items() if count not in (0, 2)} == {}
    kept = collections.Counter(kept_in(tmp_path))
    assert set(kept) == set(addresses)
    assert set(kept.values()) == {2}


def kept_in(folder: Path) -> list[str]:
    """Names of the kernels whose code is kept to be called by address, once for each type."""
    files = [path.name for path in folder.rglob("*.nbc") if ".address." in path.name]
    return sorted(name.rpartition("-")[0] for name in files)


# ---------------------------------------------------------------- only what a program uses

SMALL = """
def fit(activation, loss, optimizer):
    X = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    y = np.arange(20) % 3 if loss == "softmax_cross_entropy" else X[:, :3]
    network = Network([Dense(9), activation(), Dense(3)], loss)
    network.fit(X, y, epochs=2, batch_size=8, optimizer=optimizer)
    return network

"""
# Kernels of Dense(9), ReLU(), Dense(3) with softmax and Adam on one thread.
OF_ANY_SMALL_ONE = {
    "activations.activate_identity",
    "common.scale_slopes",
    "dense.backward_times_slopes",
    "dense.dense_gradient",
    "dense.dense_forward",
    "matmul.product_of_panel",
    "matmul.weight_gradient",
    "narrow.weight_gradient",
}
OWN = {"activations.activate_relu", "losses.cross_entropy_of_labels", "optimizers.update_adam"}
OTHERS = {"activations.activate_tanh", "losses.loss_squared_error", "optimizers.update_sgd"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is kept after a fit, its prediction, and a fit of a network with other parts."""
    folder, answers = tmp_path_factory.mktemp("small"), dict[str, Any]()
    for name, code in {
        "fit": 'fit(ReLU, "softmax_cross_entropy", "adam")',
        "prediction": 'fit(ReLU, "softmax_cross_entropy", "adam").predict_proba(np.ones((2, 5)))',
        "other parts": 'fit(Tanh, "mean_squared_error", "sgd")',
        "again": 'fit(Tanh, "mean_squared_error", "adam").predict(np.ones((2, 5)))',
    }.items():
        code = f"{KERNELS}{SMALL}{code}\nprint(json.dumps(loaded()))"
        found = run(code, NUMBA_CACHE_DIR=str(folder))
        answers[name] = kept_in(folder), {name: by["float32"] for name, by in found.items()}
        assert {len(by) for by in found.values()} == {1}
    return answers


def test_a_program_compiles_only_the_kernels_that_it_uses(small: dict[str, Any]) -> None:
    """No other activation, loss or optimizer, nor any for sparse rows, threads or penalties."""
    kept, loaded = small["fit"]
    wanted = OF_ANY_SMALL_ONE | OWN
    assert kept == sorted(wanted)
    assert loaded == dict.fromkeys(wanted, False)


def test_a_prediction_only_adds_the_link(small: dict[str, Any]) -> None:
    """What it converts its rows with, and what turns outputs into probabilities."""
    kept, loaded = small["prediction"]
    new = {"gather.gather_1", "losses.softmax_link"}
    assert kept == sorted(OF_ANY_SMALL_ONE | OWN | new)
    assert loaded == {name: name not in new for name in kept}


def test_another_network_only_adds_what_it_has_alone(small: dict[str, Any]) -> None:
    before, (kept, loaded) = small["prediction"][0], small["other parts"]
    assert set(kept) - set(before) == OTHERS
    assert len(kept) == len(before) + len(OTHERS)
    assert loaded == {name: name not in OTHERS for name in OF_ANY_SMALL_ONE | OTHERS}


def test_parts_that_others_compiled_are_loaded(small: dict[str, Any]) -> None:
    before, (kept, loaded) = small["other parts"][0], small["again"]
    assert kept == before
    assert {"optimizers.update_adam", "losses.loss_squared_error", "gather.gather_1"} <= set(loaded)
    assert all(loaded.values())


# ---------------------------------------------------------------- a cache from cold to warm

FIT = """
def fit(dtype):
    X = np.random.default_rng(0).normal(size=(20, 5))
    network = Network([Dense(9), GELU(), Dropout(0.2), Dense(3)], dtype=dtype)
    history = network.fit(X, np.arange(20) % 3, epochs=12, batch_size=8, optimizer="adam")
    return network.params.tolist(), history.loss
"""

STATISTICS = """
def total(values):
    return {name: sum(counter.values()) for name, counter in values if counter}

answer = {
    "misses": total((name, kernel.stats.cache_misses) for name, kernel in kernels()),
    "hits": total((name, kernel.stats.cache_hits) for name, kernel in kernels()),
    "folder": step.train_steps.stats.cache_path,
    "compilations": {name: compilations(kernel) for name, kernel in kernels()},
    "loaded": loaded(),
}
"""

ASSEMBLY = """
for kernel in kernels_by_address():
    kernel.address(np.dtype(np.float32))
    (result,) = kernel._results
    answer["asm of " + name_of(kernel)] = result.library.get_asm_str()
kernel = dict(kernels())["matmul.bias_gradient"]
for kinds in list(kernel.parts.compiled):
    kernel.compile(kinds)  # as if Python called it
answer["asm of matmul.bias_gradient"] = "".join(kernel.inspect_asm().values())
"""

CACHED_FIT = f"""{KERNELS}{FIT}
params, losses = fit("float32")
from fastmlp.kernels.step import step
{STATISTICS}
answer["params"] = params
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A copy of the package, its cache, and what the process that filled it says."""
    folder = tmp_path_factory.mktemp("cache")
    package = copied(folder)
    environment = {"NUMBA_CACHE_DIR": str(folder / "numba")}
    answer = run(f"{CACHED_FIT}{ASSEMBLY}print(json.dumps(answer))", package, **environment)
    return {"package": package, "environment": environment, **answer}


# What such a fit uses: the slopes before dropout cannot be multiplied at once.
OF_THE_FIT = {
    "activations.activate_gelu",
    "activations.activate_identity",
    "common.drop_values",
    "common.scale_slopes",
    "dense.dense_backward_from_few",
    "dense.dense_gradient",
    "dense.dense_forward",
    "losses.cross_entropy_of_labels",
    "matmul.product_of_panel",
    "matmul.weight_gradient",
    "narrow.weight_gradient",
    "optimizers.update_adam",
}
CONVERTED = {"gather.gather_1"}  # in float32


def test_a_first_process_fills_the_cache(cache: dict[str, Any]) -> None:
    assert cache["misses"]["step.train_steps"] == 1
    assert "step.forward" not in cache["misses"]  # it is a part of the step, and kept there
    assert cache["loaded"] == {name: {"float32": False} for name in OF_THE_FIT | CONVERTED}
    assert cache["hits"] == {}
    folder = Path(cache["folder"])
    assert folder.is_relative_to(cache["environment"]["NUMBA_CACHE_DIR"])
    assert list(folder.glob("step.train_steps-*.nbc"))
    assert np.ptp(cache["params"]) > 0


def test_inside_a_step_each_kernel_is_compiled_once(cache: dict[str, Any]) -> None:
    """No caller gives it another type of number, nor a constant that numba compiles anew for.

    The process that filled the cache trained one network, so only its step was compiled, and of
    that what the network needs.
    """
    names = INSIDE | {"losses.sum_rows"}
    counts = {name: cache["compilations"][name] for name in names}
    assert counts == dict.fromkeys(names, 1)
    counts = {name: cache["compilations"][name] for name in OUTSIDE}
    assert counts == dict.fromkeys(OUTSIDE, 0)
    assert max(cache["compilations"].values()) <= 2


def test_a_second_process_compiles_nothing(cache: dict[str, Any]) -> None:
    code = f"{CACHED_FIT}print(json.dumps(answer))"
    answer = run(code, cache["package"], **cache["environment"])
    assert answer["misses"] == {}
    assert answer["hits"]["step.train_steps"] == 1
    assert answer["loaded"] == {name: {"float32": True} for name in OF_THE_FIT | CONVERTED}
    assert answer["params"] == cache["params"]


def test_a_changed_kernel_is_compiled_anew(cache: dict[str, Any], tmp_path: Path) -> None:
    """Even in another file than the kernel that is called, and with the same size and date."""
    code = """
import json
import numpy as np
from fastmlp.kernels.rules import activations
z, slope = np.ones(2, np.float32), np.empty(2, np.float32)
kernel = activations.activation(activations.softplus)
kernel(z.ctypes.data, slope.ctypes.data, 2, 0.0, np.float32(1))
misses = sum(kernel.called.stats.cache_misses.values())
kernel.address(z.dtype)
print(json.dumps([misses, int(not kernel.loaded[z.dtype]), float(z[0])]))
"""
    package, environment = cache["package"], cache["environment"]
    for misses in (1, 0):
        before = run(code, package, **environment)
        assert before == [misses, 0, pytest.approx(np.log1p(np.e), rel=1e-6)]
    source = package / "kernels" / "rules" / "elementary.py"
    text, stamp = source.read_text(encoding="utf-8"), source.stat()
    changed = text.replace("x) + _log1p_plus(e", "x) - _log1p_plus(e")
    assert changed != text
    try:
        source.write_text(changed, encoding="utf-8")
        os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        # Python's own cache trusts size and date; what is tested here is the kernels'.
        shutil.rmtree(source.parent / "__pycache__", ignore_errors=True)
        wanted = 1 - np.log1p(np.exp(-1.0))
        assert run(code, package, **environment) == [1, 1, pytest.approx(wanted, rel=1e-6)]
        assert run(code, package, **environment) == [0, 0, pytest.approx(wanted, rel=1e-6)]
    finally:
        source.write_text(text, encoding="utf-8")


# What code of each kind a process found: compiled, loaded; and what it computes.
ADDRESS = """
import json
import numpy as np
import numba
from fastmlp.kernels.rules import activations
from fastmlp.kernels.interfaces import ACTIVATION
kernel, call = activations.activation(activations.tanh), ACTIVATION.call
z, slope = np.ones(2, np.float32), np.empty(2, np.float32)

@numba.njit
def run(address, z, slope, one):
    call(address, (z, slope, 2, 0.0, one))

run(kernel.address(z.dtype), z.ctypes.data, slope.ctypes.data, np.float32(1))
found = kernel.loaded[z.dtype]
print(json.dumps([[int(not found), int(found)], z.tolist() + slope.tolist()]))
"""
SHUFFLE = """
import json
import numpy as np
from fastmlp.kernels.rules import random
order = np.arange(9, dtype=np.int32)
random.shuffle(order, 0, 0)
stats = random.shuffle.stats
counts = [sum(stats.cache_misses.values()), sum(stats.cache_hits.values())]
print(json.dumps([counts, order.tolist()]))
"""


def test_bounds_checks_have_a_cache_of_their_own(cache: dict[str, Any]) -> None:
    """Code with the checks must not be served where they are off, nor the other way round."""
    package, environment = cache["package"], cache["environment"]
    checked = environment | {"NUMBA_BOUNDSCHECK": "1"}
    for code in (SHUFFLE, ADDRESS):
        counts = [
            run(code, package, **where)[0] for where in (environment, checked, checked, environment)
        ]
        assert counts == [[0, 1], [1, 0], [0, 1], [0, 1]]


# ---------------------------------------------------------------- machine code

FEATURES = llvm.get_host_cpu_features()
x86_with_fma = pytest.mark.skipif(
    not (FEATURES.get("avx2") and FEATURES.get("fma")), reason="not an x86 with AVX2 and FMA"
)


def instructions(assembly: str, pattern: str) -> int:
    """Lines with an instruction that matches, on whole ymm or zmm registers."""
    return len(re.findall(rf"^\s+{pattern}\b[^\n]*%[yz]mm", assembly, re.MULTILINE))


@x86_with_fma
@pytest.mark.parametrize("kernel", ["product_of_panel", "weight_gradient"])
def test_products_are_vector_multiply_adds(kernel: str, cache: dict[str, Any]) -> None:
    """As many as the tallest tile has accumulators, and no call to the function fma."""
    assembly = cache[f"asm of matmul.{kernel}"]
    assert instructions(assembly, r"vfn?m(add|sub)\d+ps") >= TILE_ROWS * VECTORS
    assert not re.search(r"\bfmaf?\b", assembly)


@x86_with_fma
def test_accumulators_stay_in_registers(cache: dict[str, Any]) -> None:
    """The tallest tile's loop over the depth holds its multiply-adds in a row and no store."""
    blocks = re.split(r"^\.?L[^\n]*:$", cache["asm of matmul.product_of_panel"], flags=re.MULTILINE)
    tallest = [b for b in blocks if instructions(b, r"vfmadd\d+ps") >= TILE_ROWS * VECTORS]
    assert tallest
    stores = r"^\s+vmov[ua]ps\s+%[yz]mm\d+, [^%\n]*\("
    assert min(len(re.findall(stores, block, re.MULTILINE)) for block in tallest) == 0


@x86_with_fma
@pytest.mark.skipif(VECTOR_BYTES == WIDEST, reason="AVX-512 stores through masks at full speed")
def test_tiles_do_not_store_through_masks(cache: dict[str, Any]) -> None:
    assembly = cache["asm of matmul.product_of_panel"]
    assert re.search(r"vmaskmov\w+\s+[^%]", assembly)  # they load through them
    assert not re.search(r"vmaskmov\w+\s+%", assembly)


@x86_with_fma
def test_optimizers_are_vectorised(cache: dict[str, Any]) -> None:
    """RMSprop, Adagrad and Adam each take roots and quotients of whole vectors."""
    products = 0
    for rule in ("rmsprop", "adagrad", "adam", "sgd", "momentum"):
        assembly = cache[f"asm of optimizers.update_{rule}"]
        for name in ("vsqrtps", "vdivps"):
            assert (instructions(assembly, name) >= 1) == (rule not in ("sgd", "momentum")), name
        assert instructions(assembly, "vmulps") >= 1, rule
        products += instructions(assembly, "vmulps")
    assert products >= 10
    assert instructions(cache["asm of matmul.bias_gradient"], "vaddps") >= 1


@x86_with_fma
@pytest.mark.parametrize("rule", ["relu", "leaky_relu", "elu", "tanh"])
def test_activations_store_whole_vectors(rule: str, cache: dict[str, Any]) -> None:
    """They do not store only the values that change, through a mask, which is slow on Zen 3."""
    assembly = cache[f"asm of activations.activate_{rule}"]
    assert re.search(r"vmov[ua]ps\s+%[yz]mm\d+, [^%\n]*\(", assembly)
    assert not re.search(r"maskmov\w+\s+%|vmov\w+\s+%[yz]mm\d+, [^\n]*\)\s*\{%k", assembly)


@x86_with_fma
def test_nothing_is_fused_that_did_not_ask_for_it(cache: dict[str, Any]) -> None:
    """Without fastmath, only a kernel that asks for it has fused instructions."""
    for rule in ("sgd", "momentum", "rmsprop", "adagrad", "adam"):
        assembly = cache[f"asm of optimizers.update_{rule}"]
        assert "vmulps" in assembly
        assert not re.search(r"\bvfn?m(add|sub)", assembly), rule


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
@pytest.mark.parametrize("code", [SHUFFLE, ADDRESS], ids=["from Python", "by address"])
def test_of_processes_that_start_together_one_compiles(code: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(lambda _: run(code, NUMBA_CACHE_DIR=str(tmp_path)), range(3))
        counts, numbers = zip(*found, strict=True)
    assert sorted(counts) == [[0, 1], [0, 1], [1, 0]]
    assert numbers[0] == numbers[1] == numbers[2]
    assert numbers[0] != sorted(numbers[0])


# ---------------------------------------------------------------- without a cache


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A fit where no folder for a cache can be made: each would be below a regular file."""
    folder = tmp_path_factory.mktemp("nowhere")
    package = copied(folder)
    (package / "kernels" / "__pycache__").write_text("a file")
    (folder / "file").write_text("a file")
    below = str(folder / "file" / "below")
    names = ("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "USERPROFILE")
    code = f"""{KERNELS}{FIT}
from fastmlp.kernels.compiler import folder
from fastmlp.kernels.step import step
params, losses = fit("float64")
again, _ = fit("float64")
assert again == params
{STATISTICS}
answer |= {{"params": params, "losses": losses, "cache": folder.cache_folder()}}
print(json.dumps(answer))
"""
    return run(code, package, **dict.fromkeys(names, below))


def in_this_process(dtype: str) -> tuple[np.ndarray, list[float]]:
    X = np.random.default_rng(0).normal(size=(20, 5))
    network = Network([Dense(9), GELU(), Dropout(0.2), Dense(3)], dtype=dtype)
    history = network.fit(X, np.arange(20) % 3, epochs=12, batch_size=8, optimizer="adam")
    return network.params, history.loss


def test_without_a_writable_folder_a_fit_still_works(nowhere: dict[str, Any]) -> None:
    assert nowhere["cache"] is None
    assert nowhere["folder"] is None
    assert nowhere["hits"] == {}
    assert nowhere["misses"]["step.train_steps"] == 1
    assert nowhere["loaded"] == {name: {"float64": False} for name in OF_THE_FIT}
    params, losses = in_this_process("float64")
    np.testing.assert_array_equal(nowhere["params"], params)
    assert nowhere["losses"] == losses
    assert losses[-1] < losses[0]


def test_the_cache_folder_is_where_the_kernels_are_kept() -> None:
    folder = cache_folder()
    assert folder is not None
    in_this_process("float32")
    for name in ("step.train_steps-*.nbi", "dense.dense_forward-*.address.nbi"):
        assert list(Path(folder).glob(name)), name


@pytest.mark.parametrize("code", [SHUFFLE, ADDRESS], ids=["from Python", "by address"])
def test_a_full_disk_costs_the_cache_only(code: str, tmp_path: Path) -> None:
    """No file may grow beyond some bytes, which is what a full disk looks like to who writes."""
    resource = pytest.importorskip("resource")
    assert resource
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (99, 99))\n"
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    (compiled, numbers), files = run(full + code, **environment), list(tmp_path.rglob("*.nb*"))
    assert (compiled, files) == ([1, 0], [])
    assert run(code, **environment) == [[1, 0], numbers]
    assert run(full + code, **environment) == [[0, 1], numbers]


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [b"", b"garbage", b"\x80\x05half of a pickle"])
@pytest.mark.parametrize(
    ("code", "name"),
    [(SHUFFLE, "random.shuffle-*"), (ADDRESS, "activations.activate_tanh-*.address*")],
    ids=["from Python", "by address"],
)
def test_a_damaged_cache_is_as_good_as_none(
    code: str, name: str, kind: str, damage: bytes, tmp_path: Path
) -> None:
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    wanted = run(code, **environment)
    assert wanted[0] == [1, 0]
    files = list(tmp_path.rglob(f"{name}.{kind}"))
    assert files
    for file in files:
        file.write_bytes(damage)
    assert run(code, **environment) == wanted
    assert run(code, **environment) == [[0, 1], wanted[1]]


# ---------------------------------------------------------------- without the compiler


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
def test_interpreted_kernels_agree_with_compiled_ones(dtype: str, tolerance: float) -> None:
    """Sums in another order, so not the same bits; the same dropout and the same shuffles."""
    code = f"""{KERNELS}{FIT}
params, losses = fit("{dtype}")
print(json.dumps([params, losses, len(list(kernels()))]))
"""
    params, losses, n_compiled = run(code, NUMBA_DISABLE_JIT="1")
    assert n_compiled == 0
    compiled, compiled_losses = in_this_process(dtype)
    np.testing.assert_allclose(params, compiled, rtol=0, atol=tolerance)
    np.testing.assert_allclose(losses, compiled_losses, rtol=0, atol=tolerance)
    assert np.ptp(compiled) > 0
