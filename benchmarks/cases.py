"""The table of cases: what is measured, compared with which library, and the target ratio.

A target is how many times better we should be than the side it names; the default is 1, because
being slower than another library is a defect. `run` measures each kind of case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

OURS = "fastmlp"
JAX, NUMPY, ONNX, SKLEARN, TORCH = "JAX", "NumPy", "ONNX Runtime", "scikit-learn", "PyTorch"
TORCH_COMPILED = "torch.compile"
DIGIT_ROWS = 60_000
ACTIVATIONS = ("relu", "tanh", "sigmoid")
MOMENTUM_FACTOR = 0.9
ADAM, MOMENTUM = "Adam", f"SGD with momentum {MOMENTUM_FACTOR}"


@dataclass(frozen=True)
class Net:
    """A multi-layer perceptron.

    Parameters
    ----------
    sizes : tuple of int
        Units per layer, inputs first.
    task : {"classes", "numbers"}
        Softmax cross-entropy, or mean squared error of one number.
    activation : str
        One of `ACTIVATIONS`, after each hidden layer.
    """

    sizes: tuple[int, ...]
    task: str = "classes"
    activation: str = "relu"

    def __str__(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        return sizes if self.activation == "relu" else f"{sizes} {self.activation}"

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Shape of each weight matrix."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def n_params(self) -> int:
        return sum((n_in + 1) * n_out for n_in, n_out in self.layers)


@dataclass(frozen=True)
class Case:
    """Base of all cases: a name that is unique in its group."""

    group: ClassVar[str]
    name: str

    @property
    def key(self) -> str:
        return f"{self.group}/{self.name}"


@dataclass(frozen=True)
class Training(Case):
    """Steps of `optimizer` (`ADAM` or `MOMENTUM`) against each peer of `targets`."""

    group: ClassVar[str] = "training"
    net: Net
    batch: int
    targets: Mapping[str, float]
    n_rows: int = DIGIT_ROWS
    optimizer: str = ADAM
    dtype: str = "float32"


@dataclass(frozen=True)
class Reference(Case):
    """Samples per second of plain SGD against the per-sample reference."""

    group: ClassVar[str] = "reference"
    batch: int
    dtype: str
    target: float
    net: Net = Net((784, 32, 10))


@dataclass(frozen=True)
class Recipe:
    """How to reach an accuracy: all choices, fixed before the fit.

    Parameters
    ----------
    hidden : tuple of int
        Units of the hidden layers.
    batch, epochs : int
    schedule : str
        Name of a learning-rate schedule, with `options` for it.
    dropout : tuple of float
        Rates at the input and after each hidden layer; 0 for none.
    """

    hidden: tuple[int, ...]
    batch: int
    epochs: int
    schedule: str
    options: Mapping[str, float]
    dropout: tuple[float, ...] = ()


@dataclass(frozen=True)
class Accuracy(Case):
    """Seconds inside `fit` on the full MNIST until a fixed recipe ends, mean of five seeds."""

    group: ClassVar[str] = "accuracy"
    goal: float
    seconds: float
    recipe: Recipe


@dataclass(frozen=True)
class Inference(Case):
    """One call from Python against each peer, and against a limit in microseconds."""

    group: ClassVar[str] = "inference"
    net: Net
    n_rows: int
    targets: Mapping[str, float] = field(default_factory=dict)
    microseconds: float | None = None


@dataclass(frozen=True)
class Cost(Case):
    """Seconds that a new process spends on something, against a limit and other packages."""

    group: ClassVar[str] = "costs"
    kind: str
    seconds: float | None = None
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory(Case):
    """Peak memory of a fit above the caller's data, against what a step needs plus a tenth."""

    group: ClassVar[str] = "memory"
    net: Net
    batch: int
    kind: str
    n_rows: int = 12_800


@dataclass(frozen=True)
class Threads(Case):
    """Two threads, or as many as a fit chooses (None), against one."""

    group: ClassVar[str] = "threads"
    net: Net
    batch: int
    n_threads: int | None
    target: float
    n_rows: int = DIGIT_ROWS


@dataclass(frozen=True)
class PeakShare(Case):
    """Arithmetic per second of a whole step, against register tiles that stay in the cache."""

    group: ClassVar[str] = "threads"
    net: Net
    batch: int
    target: float
    n_rows: int = DIGIT_ROWS


@dataclass(frozen=True)
class Sparse(Case):
    """A CSR input against the same numbers as a dense one."""

    group: ClassVar[str] = "sparse"
    net: Net
    batch: int
    density: float
    target: float
    n_rows: int = 6_400


@dataclass(frozen=True)
class DropIn(Case):
    """Default fits of an estimator against scikit-learn's, seconds inside `fit`."""

    group: ClassVar[str] = "estimators"
    table: str
    kind: str
    target: float


@dataclass(frozen=True)
class Search(Case):
    """A grid search of 20 candidates on two workers against one."""

    group: ClassVar[str] = "estimators"
    cold: bool
    n_threads: int | None
    target: float = 2 / 1.3


@dataclass(frozen=True)
class Many(Case):
    """Networks of one shape, or (None) of 10 inputs, 1 to 100 units and one output."""

    group: ClassVar[str] = "many"
    n_networks: int
    targets: Mapping[str, float]
    net: Net | None = None
    n_rows: int = 9_984
    batch: int = 256
    n_epochs: int = 10


SMALL, MIDDLE = Net((784, 32, 10)), Net((784, 128, 10))
DEEP, WIDE = Net((784, 256, 128, 10)), Net((784, 1024, 1024, 10))
REGRESSION, TINY = Net((20, 64, 64, 1), "numbers"), Net((8, 16, 1), "numbers")
CLASSES = Net((20, 64, 64, 3))
# The network of SciML's public benchmark, and a function of ten numbers.
SCIML, FUNCTION = Net((32, *(256,) * 6, 10)), Net((10, 100, 1), "numbers")
WIDE_ROWS = 12_800  # a hundred steps, enough for a net whose step takes milliseconds


def _training(
    net: Net, batch: int, torch: float, jax: float, sklearn: float, **options: Any
) -> Training:
    targets = {TORCH: torch, TORCH_COMPILED: torch, JAX: jax, SKLEARN: sklearn}
    return Training(f"{net}, batch {batch}", net, batch, targets, **options)


TRAINING = (
    _training(SMALL, 32, 15, 4.5, 12),
    _training(SMALL, 128, 7, 5, 5.5),
    _training(MIDDLE, 32, 6, 2.5, 9),
    _training(MIDDLE, 128, 3.5, 2.3, 3.8),
    _training(DEEP, 128, 2.5, 1.6, 3.2),
    _training(WIDE, 128, 1.7, 1.15, 3.5, n_rows=WIDE_ROWS),
    _training(REGRESSION, 32, 40, 3.5, 30, n_rows=16_000),
    _training(TINY, 1, 800, 8, 500, n_rows=2_000),
    _training(SCIML, 128, 1.5, 1.2, 2.5, n_rows=WIDE_ROWS),
    _training(FUNCTION, 200, 10, 1.5, 8, n_rows=20_000),
)

REFERENCE = (
    Reference("one sample at a time, float64", 1, "float64", 8),
    Reference("batch 32, float64", 32, "float64", 30),
    Reference("batch 32, float32", 32, "float32", 60),
    Reference("batch 128, float32", 128, "float32", 90),
)

ACCURACY = (
    Accuracy(
        "97.0 %, 784-32-10",
        0.970,
        1.0,
        Recipe((32,), 64, 9, "one_cycle", {"peak": 0.012, "rise": 0.2}),
    ),
    Accuracy(
        "98.0 %",
        0.980,
        2.0,
        Recipe((128,), 128, 7, "one_cycle", {"peak": 0.008, "rise": 0.2}),
    ),
    Accuracy(
        "98.5 %",
        0.985,
        8.0,
        Recipe((512,), 128, 9, "one_cycle", {"peak": 0.004, "rise": 0.2}, (0.1, 0.3)),
    ),
)

INFERENCE = (
    Inference(f"one row, {SMALL}", SMALL, 1, {ONNX: 3}, 3.0),
    Inference(f"one row, {DEEP}", DEEP, 1, {ONNX: 1.3}),
    Inference(f"one row, {REGRESSION}", REGRESSION, 1, {ONNX: 6}, 1.0),
    Inference(
        f"10,000 rows, {DEEP}",
        DEEP,
        10_000,
        dict.fromkeys((SKLEARN, TORCH, ONNX, NUMPY), 1.2),
    ),
    *(
        Inference(f"{n_rows} rows, {net}", net, n_rows, {ONNX: 1.0, NUMPY: 1.3})
        for net in (CLASSES, DEEP)
        for n_rows in (2, 8, 64, 256, 1_000)
    ),
)

COSTS = (
    Cost("import", "import", 0.2, {TORCH: "torch", JAX: "jax", SKLEARN: "sklearn.neural_network"}),
    Cost("import and one epoch of 1,797 x 64, warm cache", "fit", 0.8),
    Cost("the same with an empty cache: first compile", "compile", 15),
    Cost("fit on 60,000 x 784 outside its epochs", "checks"),
)

MEMORY = tuple(
    Memory(f"{net}, batch 128, {kind}", net, 128, kind)
    for net, kind in (
        (DEEP, "float32"),
        *((WIDE, kind) for kind in ("float32", "uint8", "float16", "mapped", "csr")),
    )
)

THREADS = (
    *(
        Threads(f"{net}, batch {batch}, chosen", net, batch, None, 1.0, n_rows)
        for net, batch, n_rows in (
            (SMALL, 32, DIGIT_ROWS),
            (SMALL, 128, DIGIT_ROWS),
            (REGRESSION, 32, 16_000),
            (TINY, 1, 20_000),
        )
    ),
    *(
        Threads(f"{net}, batch {batch}, two", net, batch, 2, 1.75, n_rows)
        for net, batch, n_rows in (
            (MIDDLE, 32, DIGIT_ROWS),
            (MIDDLE, 128, DIGIT_ROWS),
            (DEEP, 128, DIGIT_ROWS),
            (WIDE, 128, WIDE_ROWS),
        )
    ),
    PeakShare(f"{WIDE}, batch 128, share of the tile peak", WIDE, 128, 0.75, WIDE_ROWS),
)

SPARSE = (Sparse("10000-64-10, batch 128, 1 %", Net((10_000, 64, 10)), 128, 0.01, 5),)

ESTIMATORS = (
    DropIn("digits", "digits", "MLPClassifier", 3),
    DropIn("5,000 of MNIST", "MNIST", "MLPClassifier", 3),
    DropIn("5,000 of MNIST, float32", "MNIST float32", "MLPClassifier", 3),
    DropIn("breast_cancer", "breast_cancer", "MLPClassifier", 10),
    DropIn("wine", "wine", "MLPClassifier", 10),
    DropIn("diabetes", "diabetes", "MLPRegressor", 10),
    DropIn("sparse texts", "sparse texts", "MLPClassifier", 3),
    Search("grid search on two workers, warm cache, n_threads=1", False, 1),
    Search("grid search on two workers, cold cache, n_threads=1", True, 1),
    Search("grid search on two workers, warm cache, default threads", False, None, 1.0),
)

MANY = (
    Many(
        "300 networks of 10 inputs and 1 to 100 units, 10 epochs of 9,984 rows, batch 256",
        300,
        {"one thread": 1.9, TORCH: 40, JAX: 5},
    ),
    Many(
        f"1,000 networks {TINY}, 2 epochs of 1,000 rows, batch 1",
        1000,
        {"a loop of fit": 3},
        TINY,
        n_rows=1_000,
        batch=1,
        n_epochs=2,
    ),
)

CASES: tuple[Case, ...] = (
    *TRAINING,
    *MANY,
    *REFERENCE,
    *ACCURACY,
    *INFERENCE,
    *COSTS,
    *MEMORY,
    *THREADS,
    *SPARSE,
    *ESTIMATORS,
)
GROUPS = tuple(dict.fromkeys(case.group for case in CASES))
