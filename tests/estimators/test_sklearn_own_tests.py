"""scikit-learn's own tests of its MLP, with the two names swapped for ours.

They are read from the installed scikit-learn, so nothing of them is copied here. Only tests that
look into private attributes are left out, each by name.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

# What each of them reaches for, which is how scikit-learn's implementation is built.
PRIVATE = {
    "test_gradient": "_loss_grad_lbfgs",
    "test_learning_rate_warmstart": "_optimizer",
    "test_adaptive_learning_rate": "_optimizer",
}
THEIRS = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
OURS = "from fastmlp import MLPClassifier, MLPRegressor\n"
# A fixture of scikit-learn's that comes with its repository and not with the package.
CONFTEST = "import pytest\n\n@pytest.fixture\ndef global_random_seed():\n    return 42\n"


def their_tests() -> str:
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    if spec is None or spec.origin is None:
        pytest.skip("this scikit-learn comes without its tests")
    return Path(spec.origin).read_text(encoding="utf-8")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """scikit-learn's tests with our names, in a process and folder of their own."""
    source = their_tests()
    assert source.count(THEIRS) == 1
    (folder / "test_swapped.py").write_text(source.replace(THEIRS, OURS), encoding="utf-8")
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "pytest.ini", "-p", "no:cacheprovider"]
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [*command, "--tb=line", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=900,
        env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip


@pytest.mark.slow
def test_all_but_those_of_private_attributes_pass(tmp_path: Path) -> None:
    left_out = [f"--deselect=test_swapped.py::{name}" for name in PRIVATE]
    done = run(tmp_path, *left_out, "test_swapped.py")
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{len(PRIVATE)} deselected" in done.stdout


@pytest.mark.slow
def test_those_left_out_fail_for_a_private_attribute_only(tmp_path: Path) -> None:
    """So none is left out that could pass."""
    done = run(tmp_path, *(f"test_swapped.py::{name}" for name in PRIVATE))
    assert f"{len(PRIVATE)} failed" in done.stdout
    assert "passed" not in done.stdout
    reasons = [line for line in done.stdout.splitlines() if "has no attribute" in line]
    for attribute in PRIVATE.values():
        assert any(f"has no attribute '{attribute}'" in line for line in reasons)
    assert len(reasons) >= len(PRIVATE)
