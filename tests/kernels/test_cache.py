"""One folder of compiled code for clones and installed packages, and the message about the wait.

Separate processes look for the folder; nothing here compiles more than one small kernel.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmlp
from fastmlp import Dense, Network
from fastmlp.engine import compiling, engine
from fastmlp.kernels.compiler import cache, jit
from fastmlp.training import run as training

pytestmark = pytest.mark.slow  # each test starts processes

PACKAGE = Path(fastmlp.__file__).parent
needs_compiler = pytest.mark.skipif(not jit.JIT_ENABLED, reason="nothing is compiled")
FOLDER = "from fastmlp.kernels.compiler import folder; print(folder.cache_folder())"


def run(code: str, place: Path, **environment: str) -> str:
    """What a program prints that finds the package in a folder."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env=kept | {"PYTHONPATH": str(place)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def copied(place: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, place / "fastmlp", ignore=ignored)
    return place


@needs_compiler
def test_a_clone_and_an_installed_package_share_one_folder(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path), "USERPROFILE": str(tmp_path)}
    clone, installed = copied(tmp_path / "clone"), copied(tmp_path / "site-packages")
    folders = {run(FOLDER, place, **home) for place in (clone, installed)}
    assert len(folders) == 1
    (folder,) = map(Path, folders)
    assert folder.is_relative_to(tmp_path)
    assert not folder.is_relative_to(clone)
    # Another release, whose kernels differ, has its own.
    kernel = clone / "fastmlp" / "kernels" / "products" / "sums.py"
    kernel.write_text(kernel.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    other = Path(run(FOLDER, clone, **home))
    assert (other.parent, other == folder) == (folder.parent, False)
    assert folder.exists()


@pytest.mark.slow
@needs_compiler
def test_what_one_of_them_compiles_the_other_loads(tmp_path: Path) -> None:
    code = """
import numpy as np
from fastmlp.kernels.rules import random
random.shuffle(np.arange(9, dtype=np.int32), 0, 0)
stats = random.shuffle.stats
print(sum(stats.cache_misses.values()), sum(stats.cache_hits.values()))
"""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    assert run(code, copied(tmp_path / "clone"), **environment) == "1 0"
    assert run(code, copied(tmp_path / "site-packages"), **environment) == "0 1"


@needs_compiler
def test_users_without_a_home_cache_beside_the_sources(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    below = str(tmp_path / "file" / "home")
    place = copied(tmp_path / "clone")
    folder = Path(run(FOLDER, place, HOME=below, LOCALAPPDATA=below, USERPROFILE=below))
    assert folder.is_relative_to(place / "fastmlp" / "kernels" / "__pycache__")


@needs_compiler
def test_the_variable_of_numba_comes_first(tmp_path: Path) -> None:
    folder = run(FOLDER, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path))
    assert Path(folder).is_relative_to(tmp_path)


@pytest.mark.slow
@needs_compiler
def test_code_that_nobody_uses_is_removed(tmp_path: Path) -> None:
    parent = tmp_path / "fastmlp"
    old, young, foreign = parent / "kernels_old", parent / "kernels_young", parent / "else"
    for folder in (old, young, foreign):
        folder.mkdir(parents=True)
        (folder / "file").write_text("code")
        days = 5 if folder == young else 60
        os.utime(folder, (time.time() - days * 86400,) * 2)
    used = Path(run(FOLDER, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path)))
    assert sorted(parent.iterdir()) == sorted([young, foreign, used])
    os.utime(used, (0, 0))
    run(FOLDER, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path))
    assert time.time() - used.stat().st_mtime < 3600  # whoever uses a folder renews its date


# ------------------------------------------------------------------------------------- the waiting


@pytest.mark.nojit
def test_the_clock_counts_a_wait_once() -> None:
    clock = cache._CompileClock()
    with clock, clock:
        time.sleep(0.02)
        under_way = clock.seconds()
    assert 0.02 <= under_way <= clock.seconds() < 2
    stopped = clock.seconds()
    time.sleep(0.01)
    assert clock.seconds() == stopped


def small() -> Network:
    return Network([Dense(4), Dense(2)])


X, Y = np.arange(12.0).reshape(6, 2), np.arange(6) % 2


@pytest.mark.nojit
def test_threads_load_code_one_after_the_other() -> None:
    inside, most = 0, 0

    def load() -> None:
        nonlocal inside, most
        with cache.compiling(None, ()):
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_seconds_leave_the_compiler_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, judge = cache._CompileClock(), training.Run.judge

    def slow(self: Any, *args: Any) -> Any:
        if not self.history.epochs:  # as in a first epoch
            with clock:
                time.sleep(0.3)
        return judge(self, *args)

    small().fit(X, Y, epochs=1)
    monkeypatch.setattr(training, "compile_seconds", clock.seconds)
    monkeypatch.setattr(training.Run, "judge", slow)
    assert max(small().fit(X, Y, epochs=2).seconds) < 0.25


@pytest.mark.nojit
def test_the_bar_says_that_it_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited = [0.0]
    monkeypatch.setattr(training, "compile_seconds", lambda: waited[0])
    bar = training.bar_of(60, 0, "epoch", True)
    assert "compiling, once on this machine:   0%" in capsys.readouterr().err
    started, waited[0] = bar.start_t, 73.0
    bar.update()
    assert bar.start_t == started + 73  # so what is left is told by the epochs alone
    assert "compiling" not in str(bar)
    bar.close()
    capsys.readouterr()
    training.bar_of(60, 0, "epoch", False).close()
    assert "compiling" not in capsys.readouterr().err


@pytest.mark.nojit
def test_a_bar_that_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert small().fit(X, Y, epochs=2, progress=True).epochs == 2


@pytest.fixture
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "is_compiled", lambda kernel, dtype: False)
    monkeypatch.setattr(compiling, "_ANNOUNCED", set())
    engine.compile_step.cache_clear()


@needs_compiler
@pytest.mark.usefixtures("nothing_compiled")
def test_predictions_wait_for_the_compiler_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    net = small()
    net.build(X.shape[1])
    for use in (net.compile_predictor, lambda: net.predict_proba(X)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            use()
        assert "about 5 to 10 seconds" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        net.fit(X, Y, epochs=1)
        net.predict_proba(X)  # what is left to compile is short, and the fit spoke of it
    assert [record.getMessage()[:9] for record in caplog.records] == ["compiling"]


@needs_compiler
def test_a_predictor_is_compiled_before_its_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    net = small()
    net.build(X.shape[1])
    predictor = net.compile_predictor()
    monkeypatch.delattr("fastmlp.serving.predictor.exactly")  # whoever compiles needs it
    assert predictor(X[0].astype(net.dtype)).shape == (net.n_outputs,)


@needs_compiler
@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("folder", [None, "somewhere"])
def test_the_announcement_says_how_long_and_how_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, folder: str | None
) -> None:
    monkeypatch.setattr(compiling, "cache_folder", lambda: folder)
    with caplog.at_level(logging.WARNING):
        compiling.announce(np.dtype("float32"))
        compiling.announce(np.dtype("float32"))
    (record,) = caplog.records
    text = record.getMessage()
    assert "about 5 to 15 seconds, longer if the machine is busy" in text
    assert ("once on this machine" in text) is (folder is not None)
    assert ("in every process" in text) is (folder is None)
