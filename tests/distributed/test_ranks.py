"""Fits of several processes: the same bits for any number of them, and an end for all of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import SGD, BatchNorm, Dense, Network
from fastmlp.distributed.ranks import Ranks
from fastmlp.errors import InputError

MPI = pytest.importorskip("mpi4py.MPI")
PROGRAM = Path(__file__).with_name("program.py")
MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
needs_mpiexec = pytest.mark.skipif(MPIEXEC is None, reason="needs mpiexec, of mpich or openmpi")


def start(processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(MPIEXEC), "-n", str(processes), sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def lines(processes: int, *arguments: str) -> list[str]:
    done = start(processes, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@needs_mpiexec
@pytest.mark.slow
@pytest.mark.parametrize("rows", ["all", "own"])
def test_any_number_of_processes_ends_with_the_same_bits(rows: str) -> None:
    expected = lines(1, rows)
    assert len(set(expected)) == 5
    assert lines(2 if rows == "all" else 3, rows) == expected


@needs_mpiexec
@pytest.mark.slow
def test_a_killed_process_ends_all_and_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "kill").touch()
    begun = time.monotonic()
    assert start(2, "resumed", str(tmp_path)).returncode != 0
    assert time.monotonic() - begun < 60
    (tmp_path / "kill").unlink()
    names = [path.name for path in (tmp_path / "saved").iterdir()]
    assert max(names) in ("epoch-000004.safetensors", "epoch-000005.safetensors")
    found = lines(3, "resumed", str(tmp_path))
    shutil.rmtree(tmp_path / "saved")
    assert found == lines(1, "resumed", str(tmp_path))


@needs_mpiexec
@pytest.mark.slow
def test_an_error_in_one_process_is_one_in_all() -> None:
    found = lines(2, "errors")
    same = "InputError: Network.fit: expected {} that are the same in all processes, got others; {}"
    theirs = "InputError: Network.fit: expected no error in any process, got one in process 1 ({}"
    samples = same.format("samples", "load the same data in the same order")
    options = same.format("options", "pass the same to all")
    assert found[:2] == [f"0 {samples}", f"1 {samples}"]
    own = found[3].removeprefix("1 InputTypeError: ")
    assert own.startswith("Network.fit: expected X to hold numbers")
    assert found[2] == f"0 {theirs.format(own)}); mend what it says"
    assert found[4:6] == [f"0 {options}", f"1 {options}"]
    assert found[6].startswith(f"0 {theirs.format('in the second process')}")
    assert found[7] == "1 RuntimeError: in the second process"


@pytest.mark.nojit
def test_one_process_alone() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    weights = rng.random(40)
    options: dict[str, Any] = {"epochs": 3, "optimizer": SGD(0.1, clip_norm=0.1)}
    plain = Network([Dense(2, max_norm=1.0)], random_state=0, l2=0.1)
    history = plain.fit(X, y, sample_weight=weights, **options)
    shared = Network([Dense(2, max_norm=1.0)], random_state=0, l2=0.1)
    ranks = Ranks(MPI.COMM_SELF, own_rows=True, blocks=1)  # so that the order is the same
    found = shared.fit(X, y, sample_weight=weights, comm=ranks, **options)
    np.testing.assert_allclose(shared.params, plain.params, rtol=1e-5)
    np.testing.assert_allclose(found.loss, history.loss, rtol=1e-6)


class Own:
    """An optimizer of one's own."""

    def step(self, params: Any, grads: Any) -> None:
        params -= grads


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("options", "fit", "text"),
    [
        ({"comm": 3}, {}, "Ranks: expected a communicator of mpi4py, got int"),
        ({"blocks": 0}, {}, "Ranks: expected blocks to be a whole number of at least 1"),
        ({"own_rows": True}, {"batch_size": 12}, "a batch_size that is a multiple of the 8 blocks"),
        ({}, {"optimizer": Own()}, "an optimizer of fastmlp's for several processes, got Own"),
        ({}, {"layers": [Dense(3), BatchNorm(), Dense(2)]}, "without running statistics"),
    ],
)
def test_what_processes_cannot_share_is_refused(
    options: dict[str, Any], fit: dict[str, Any], text: str
) -> None:
    network = Network(fit.pop("layers", [Dense(2)]))
    fit = {"optimizer": SGD(0.1), **fit}
    with pytest.raises(InputError, match=text):
        network.fit(
            np.eye(40), np.arange(40) % 2, comm=Ranks(**{"comm": MPI.COMM_SELF, **options}), **fit
        )
    assert not network.is_built


@needs_mpiexec
@pytest.mark.slow
def test_commands_of_several_processes_report_once(tmp_path: Path) -> None:
    command = [str(MPIEXEC), "-n", "2", sys.executable, "-m", "fastmlp", "train", "--data"]
    saved = str(tmp_path / "m.safetensors")

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        done = [*command, *options]
        return subprocess.run(done, capture_output=True, text=True, timeout=120, check=False)

    trained = run("digits", "--epochs", "1", "--quiet", "--save", saved)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.count("test accuracy") == 1
    assert Network.load(saved).is_built
    table = tmp_path / "t.csv"
    table.write_text("a,b\n" + "1,2\n" * 40)
    refused = run(str(table), "--target", "b")
    assert refused.returncode != 0
    lines_ = [line for line in refused.stderr.splitlines() if line.startswith("fastmlp")]
    assert lines_ == [
        "fastmlp: fastmlp train: expected a network of layers in several processes, got a recipe "
        "for tables; add --recipe none"
    ]


@needs_mpiexec
@pytest.mark.slow
def test_an_error_in_the_command_of_one_process_ends_all(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b\n" + "1,2\n" * 40)
    other = f"--data {table} --target nothing --recipe none"
    rank = "${PMI_RANK:-$OMPI_COMM_WORLD_RANK}"
    train = f'"{sys.executable}" -m fastmlp train --quiet'
    script = f"if [ {rank} = 1 ]; then {train} {other}; else {train}; fi"
    done = subprocess.run(
        [str(MPIEXEC), "-n", "2", "sh", "-c", script], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"fastmlp: {table}: expected" in done.stderr
