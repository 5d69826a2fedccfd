"""Whether two versions of fastmlp train to the same bits: `python -m tests.same_bits OLD NEW`.

OLD and NEW are folders that each contain a `fastmlp` package, such as a checkout of an older
commit. The same networks and estimators are drawn for both from the names that OLD knows, trained
in one process for each version, and their parameters compared.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

REGISTRIES = ("LAYERS", "LOSSES", "OPTIMIZERS", "SCHEDULES")
INPUTS = ("C", "Fortran", "strided", "float64", "float16", "uint8", "sparse", "sparse int64")
Names = dict[str, list[str]]


class Recipe(NamedTuple):
    """What one case trains: plain values, so that it can be printed."""

    number: int
    kind: str  # network, classifier or regressor
    layers: list[Any]  # sizes of Dense, names of other layers
    loss: str
    dtype: str
    inputs: str
    n_threads: int
    shape: tuple[int, int]
    network: dict[str, Any]
    fit: dict[str, Any]
    optimizer: tuple[str, dict[str, Any]]


def drawn(number: int, names: Names) -> Recipe:
    """The case of a number; nothing of fastmlp is used, so that both versions draw the same."""
    rng = np.random.default_rng([7, number])

    def one_of(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    between = [name for name in names["LAYERS"] if name not in ("dense", "rescaling")]
    layers: list[Any] = ["rescaling"] if rng.random() < 0.1 else []
    for _ in range(int(rng.integers(0, 4))):
        layers.append(int(one_of(1, 3, 8, 17, 32, 64, 130)))
        layers += [one_of(*between) for _ in range(int(one_of(1, 1, 1, 0, 2)))]
    schedule = one_of(*names["SCHEDULES"], "constant", "constant")
    return Recipe(
        number,
        one_of(*["network"] * 6, "classifier", "regressor"),
        layers,
        one_of(*names["LOSSES"]),
        one_of("float32", "float64"),
        one_of(*INPUTS),
        int(one_of(1, 2, 3)),
        (int(one_of(5, 40, 150)), int(one_of(1, 4, 33, 200))),
        {"l1": one_of(0.0, 0.0, 1e-3), "l2": one_of(0.0, 1e-3), "random_state": number},
        {
            "epochs": int(one_of(1, 2, 4)),
            "batch_size": int(one_of(1, 7, 32, 64)),
            "shuffle": bool(one_of(True, True, False)),
            "weighted": bool(one_of(True, False)),
        },
        (
            one_of(*names["OPTIMIZERS"]),
            {"clip_norm": one_of(None, None, 0.1), "schedule": schedule},
        ),
    )


# ---------------------------------------------------------------------- in a process of one version


def _rows(recipe: Recipe, rng: np.random.Generator) -> Any:
    values = rng.normal(size=recipe.shape)
    if recipe.inputs.startswith("sparse"):
        from scipy import sparse

        made = sparse.csr_array((values * (rng.random(recipe.shape) < 0.3)).astype(recipe.dtype))
        if recipe.inputs == "sparse int64":
            made.indices, made.indptr = made.indices.astype("i8"), made.indptr.astype("i8")
        return made
    if recipe.inputs == "uint8":
        return np.abs(40 * values).astype(np.uint8)
    single = values.astype(np.float32)
    return {
        "Fortran": np.asfortranarray(single),
        "strided": np.repeat(single, 2, axis=1)[:, ::2],
        "float64": values,
        "float16": values.astype(np.float16),
    }.get(recipe.inputs, single)


def _network(recipe: Recipe, X: Any, rng: np.random.Generator) -> bytes:
    from fastmlp import Dense, Network

    kinds, losses, optimizers, schedules = _registries()

    n, task = len(X.indptr) - 1 if hasattr(X, "indptr") else len(X), losses[recipe.loss].task
    if task == "classes":
        y, n_outputs = rng.integers(0, 3, n), 3
        y[:3] = np.arange(3)
    elif task == "binary":
        y, n_outputs = np.arange(n) % 2, 1
    else:
        y, n_outputs = np.abs(rng.normal(size=n)), 1
    parts = {"rescaling": (0.5,), "dropout": (0.2,)}
    layers = [
        Dense(part) if isinstance(part, int) else kinds[part](*parts.get(part, ()))
        for part in recipe.layers
    ]
    net = Network([*layers, Dense(n_outputs)], recipe.loss, recipe.dtype, **recipe.network)
    name, options = recipe.optimizer
    rate = schedules[options["schedule"]](0.01)
    optimizer = optimizers[name](rate, clip_norm=options["clip_norm"])
    fit = dict(recipe.fit)
    weights = rng.random(n) + 0.1 if fit.pop("weighted") else None
    net.fit(X, y, optimizer=optimizer, sample_weight=weights, n_threads=recipe.n_threads, **fit)
    return bytes(net.params.tobytes())


def _estimator(recipe: Recipe, X: Any, rng: np.random.Generator) -> bytes:
    import fastmlp

    n = X.shape[0]
    hidden = [part for part in recipe.layers if isinstance(part, int)]
    options = {
        "solver": ("adam", "sgd", "lbfgs")[recipe.number % 3],
        "alpha": recipe.network["l2"],
        "max_iter": 2 + recipe.fit["epochs"],
        "early_stopping": recipe.number % 2 == 0 and n > 20 and recipe.number % 3 < 2,
        "random_state": recipe.number,
        "n_threads": recipe.n_threads,
    }
    if recipe.kind == "classifier":
        model: Any = fastmlp.MLPClassifier(hidden, **options)
        y: Any = np.arange(n) % 3
    else:
        model, y = fastmlp.MLPRegressor(hidden_layer_sizes=hidden, **options), rng.normal(size=n)
    model.fit(X, y)
    return b"".join(np.asarray(a).tobytes() for a in [*model.coefs_, *model.intercepts_])


def trained(recipe: Recipe) -> str:
    """A digest of the trained parameters, or the error of the fit."""
    rng = np.random.default_rng(recipe.number)
    X = _rows(recipe, rng)
    train = _network if recipe.kind == "network" else _estimator
    try:
        with np.errstate(all="ignore"):
            return hashlib.sha256(train(recipe, X, rng)).hexdigest()
    except Exception as error:  # the other version may raise the same
        return f"{type(error).__name__}: {error}"


def _registries() -> list[Any]:
    """Tables of layers, losses, optimizers and schedules, wherever a version has them."""
    found = dict[str, Any]()
    import fastmlp

    for info in pkgutil.walk_packages(fastmlp.__path__, "fastmlp."):
        name = info.name.rpartition(".")[2]
        if (
            name in {"layers", "nn", "losses", "optimizers", "schedules"}
            and ".kernels." not in info.name
        ):
            found |= vars(importlib.import_module(info.name))
    return [found[name] for name in REGISTRIES]


def _names() -> Names:

    found = zip(REGISTRIES, _registries(), strict=True)
    return {name: list(registry.names) for name, registry in found}


def _serve(place: str) -> None:
    """Answer the question on the standard input: which names there are, or digests of cases."""
    import fastmlp

    assert Path(fastmlp.__file__).parents[1] == Path(place), fastmlp.__file__
    warnings.simplefilter("ignore")
    question = json.load(sys.stdin)
    if question is None:
        print(json.dumps(_names()))
        return
    first, last, names = question
    print(json.dumps([trained(drawn(number, names)) for number in range(first, last)]))


# ---------------------------------------------------------------------- in the first process


def _ask(place: Path, question: Any) -> Any:
    environment = os.environ | {"PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--serve", str(place)],
        input=json.dumps(question), capture_output=True, text=True, env=environment, cwd=place,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{place}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def differences(old: Path, new: Path, first: int, last: int) -> tuple[list[str], int]:
    """What differs among the cases of a range, a line for each, and how many cases could be fit."""
    names = _ask(old, None)
    before, after = (_ask(place, (first, last, names)) for place in (old, new))
    found = [
        f"{drawn(first + i, names)}: {a} before, {b} after"
        for i, (a, b) in enumerate(zip(before, after, strict=True))
        if a != b
    ]
    return found, sum(":" not in digest for digest in before)


def main() -> int:
    """Compare, print what differs, and return 1 if anything does."""
    parser = argparse.ArgumentParser(prog="python -m tests.same_bits", description=__doc__)
    parser.add_argument("old", type=Path, help="a folder that holds a fastmlp package")
    parser.add_argument("new", type=Path, help="another one")
    parser.add_argument("--count", type=int, default=300, help="how many cases (default 300)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default 0)")
    options = parser.parse_args()
    old, new = options.old.resolve(), options.new.resolve()
    found, fitted = differences(old, new, options.first, options.first + options.count)
    print("\n".join(found))
    print(f"{options.count} cases, {fitted} of them could be fit; {len(found)} differ")
    return int(bool(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        _serve(sys.argv[2])
    else:
        sys.exit(main())
