"""The command: draws faults, runs the tests against each in a copy of the project, and reports.

A fault counts as found if a test fails or does not end. Tests near the kernel run first, then all
that run with the kernels as plain Python, then some with compiled ones.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from . import mutants
from .mutants import Mutant

ROOT = Path(__file__).resolve().parents[2]
KERNELS = "fastmlp/kernels"
# The tests that know a kernel best; the others of the second list come after those.
NEAR = {
    "compiler/bits": "elementary", "ops/activation": "layers paths",
    "ops/common": "gradients layers paths", "ops/dense": "gradients paths threads",
    "ops/dense_sparse": "sparse", "ops/gather": "rows", "ops/whole": "paths layers threads",
    "plan": "rows", "products/matmul": "matmul gradients",
    "products/narrow": "matmul gradients", "products/sparse": "sparse",
    "products/tiles": "matmul", "rules/activations": "rules layers gradients",
    "rules/averages": "averaging", "rules/elementary": "elementary rules",
    "rules/losses": "rules losses gradients", "rules/optimizers": "rules layers paths",
    "rules/random": "random layers", "step/accumulate": "accumulation",
    "step/outputs": "predictor network", "step/rows": "rows predictor",
    "step/shares": "threads paths", "step/step": "gradients layers paths training rows",
}  # fmt: skip
REST = (
    "rules rows sparse matmul random losses layers paths gradients network predictor training "
    "checkpoint estimators threads"
)
# Threads, and what only long tables reach, are tested with compiled kernels alone.
COMPILED = "sparse random rows paths threads predictor matmul"
_SECONDS = 400


class Verdict(NamedTuple):
    """What became of a fault."""

    module: str
    mutant: Mutant
    found: bool


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="faults to draw (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    faults = drawn(options.count, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(options.jobs):
            copies.put(copied(Path(folder) / str(number)))
        if any(fails(copies.queue[0], near.split()) for near in sorted(set(NEAR.values()))):
            print("the tests fail without a fault")
            return 1
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            verdicts = []
            for verdict in pool.map(lambda fault: judged(copies, *fault), faults):
                verdicts.append(verdict)
                sign = "found   " if verdict.found else "SURVIVED"
                print(
                    f"{sign}  {verdict.module}:{verdict.mutant.line}  {verdict.mutant.what}",
                    flush=True,
                )
    found = sum(verdict.found for verdict in verdicts)
    print(f"{found} of {len(verdicts)} faults found: {100 * found / len(verdicts):.1f} %")
    return 0


def drawn(count: int, seed: int) -> list[tuple[str, Mutant]]:
    """Faults from all kernels, each with the same chance."""
    sources = {name: (ROOT / KERNELS / f"{name}.py").read_text(encoding="utf-8") for name in NEAR}
    every = [(name, i) for name, text in sources.items() for i in range(mutants.count(text))]
    chosen = random.Random(seed).sample(every, min(count, len(every)))
    return [(name, mutants.mutant(sources[name], i)) for name, i in chosen]


def copied(place: Path) -> Path:
    """A copy of the project that may be broken."""
    place.mkdir()
    for name in ("fastmlp", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def judged(copies: queue.Queue[Path], module: str, mutant: Mutant) -> Verdict:
    """Run the tests with one fault in place."""
    place = copies.get()
    file = place / KERNELS / f"{module}.py"
    whole = file.read_bytes()
    try:
        file.write_text(mutant.text, encoding="utf-8")
        near = NEAR[module].split()
        rest = [name for name in REST.split() if name not in near]
        found = fails(place, near) or fails(place, rest)
        return Verdict(module, mutant, found or fails(place, COMPILED.split(), compiled=True))
    finally:
        file.write_bytes(whole)
        copies.put(place)


def fails(place: Path, tests: list[str], compiled: bool = False) -> bool:
    """Whether some test of these fails, with the kernels as plain Python or compiled."""
    files = [str(next((place / "tests").rglob(f"test_{name}.py"))) for name in tests]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    if compiled:
        environment["NUMBA_CACHE_DIR"] = str(place / "cache")
    else:
        environment["NUMBA_DISABLE_JIT"] = "1"
        command += ["-m", "nojit"]
    try:
        done = subprocess.run(
            [*command, *files], cwd=place, env=environment, capture_output=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
