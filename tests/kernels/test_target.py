"""Other instruction sets on this machine: chosen by numba's variables, with the same bits."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fastmlp.kernels.compiler.jit import VECTOR_BYTES

ROOT = Path(__file__).resolve().parents[2]
FIT = """
import hashlib, json
from fastmlp import Dense, Network, ReLU, Tanh, datasets
from fastmlp.kernels.compiler.jit import VECTOR_BYTES
digits, found = datasets.load_digits(), [VECTOR_BYTES]
for dtype in ("float32", "float64"):
    network = Network([Dense(37), ReLU(), Dense(9), Tanh(), Dense(10)], dtype=dtype)
    network.fit(digits.X[:500], digits.y[:500], epochs=2, n_threads=2)
    found.append(hashlib.sha256(network.params.tobytes()).hexdigest())
print(json.dumps(found))
"""

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 processors"
)


def run(code: str, **variables: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=env | variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize(
    ("variables", "n_bytes"),
    [
        ({}, VECTOR_BYTES),
        ({"NUMBA_CPU_NAME": "generic"}, 16),
        ({"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}, 32),
        ({"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": ""}, 64),
        ({"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "-fma"}, 16),
    ],
)
def test_the_width_of_vectors_follows_the_target(variables: dict[str, str], n_bytes: int) -> None:
    code = "from fastmlp.kernels.compiler.target import vector_bytes; print(vector_bytes())"
    assert run(code, **variables) == f"{n_bytes}\n"


@pytest.mark.slow
@pytest.mark.skipif("NUMBA_DISABLE_JIT" in os.environ, reason="nothing is compiled")
def test_narrower_vectors_have_the_same_bits(tmp_path: Path) -> None:
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    names = ["x86-64"] if VECTOR_BYTES <= 32 else ["x86-64", "x86-64-v3"]
    own = json.loads(run(FIT))
    for name in names:
        made = json.loads(run(FIT, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="", **cache))
        assert made[0] < own[0]
        assert made[1:] == own[1:]
