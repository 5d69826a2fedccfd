"""The processes of the fuzzer: two monitors, each with a child that runs cases until it dies.

A monitor imports and compiles everything once and forks its children, so the death of one costs
some milliseconds. A child says what it is about to do before it does it.
"""

from __future__ import annotations

import concurrent.futures
import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from .. import guarded
from ..outcome import Outcome

_ROOT = Path(__file__).resolve().parents[3]
_MONITORS = 2
_SECONDS_A_CASE = 60.0  # beyond it, a case hangs
_CASES_A_CHILD = 100
_SEEDS_APART = 1_000_000  # of the numbers of cases that two seeds of a run lead to
# Threads of other libraries must not live where a process forks; kernels have threads of their own.
_ENVIRONMENT = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


# ---------------------------------------------------------------------- in the first process


def run(count: int, seed: int, plant: str | None = None) -> Outcome:
    """So many cases; each failure begins with the number by which its case is repeated."""
    outcome = Outcome()
    if not guarded.IS_SUPPORTED:
        outcome.counts[f"cases, since {guarded.WHY_NOT}"] = 0
        return outcome
    first = seed * _SEEDS_APART
    with concurrent.futures.ThreadPoolExecutor(_MONITORS) as pool:
        for part in pool.map(lambda i: _monitored(first, count, i, plant), range(_MONITORS)):
            outcome.counts += part.counts
            outcome.failures += part.failures
    outcome.failures.sort()
    return outcome


def show(number: int, plant: str | None = None) -> Outcome:
    """One case, with its steps on the standard output."""
    outcome = Outcome()
    for message in _start([str(number), str(number + 1), "1", plant or "", "shown"]):
        _take(outcome, message, shown=True)
    return outcome


def _monitored(first: int, count: int, which: int, plant: str | None) -> Outcome:
    outcome = Outcome()
    arguments = [first + which, first + count, _MONITORS, plant or ""]
    for message in _start(list(map(str, arguments))):
        _take(outcome, message)
    return outcome


def _start(arguments: list[str]) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-W", "ignore", "-m", f"{__package__}.processes", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=_ROOT, text=True, env=os.environ | _ENVIRONMENT
    ) as monitor:
        assert monitor.stdout is not None
        for line in monitor.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    if monitor.returncode:
        yield {"failure": f"a monitor ended with {monitor.returncode}"}


def _take(outcome: Outcome, message: dict[str, Any], shown: bool = False) -> None:
    outcome.counts += Counter(message.get("counts", {}))
    if "failure" in message:
        outcome.failures.append(message["failure"])
    if shown and "step" in message:
        print(message["step"], flush=True)


# ---------------------------------------------------------------------- in a monitor


def monitor(first: int, last: int, step: int, plant: str | None, shown: bool) -> None:
    """Run cases first, first + step, .. in children; report on the standard output."""
    from . import instruments

    _warm_up()
    instruments.prepare(plant)
    guarded.hook()
    waiting = [(number, mode) for number in range(first, last, step) for mode in guarded.MODES]
    while waiting:
        done = _watch(waiting[:_CASES_A_CHILD], shown)
        waiting = waiting[done:]


def _warm_up() -> None:
    """Load all compiled code before the first fork."""
    from fastmlp import MLPClassifier, Network  # noqa: F401
    from fastmlp import Dense

    for dtype in ("float32", "float64"):
        X = np.random.default_rng(0).normal(size=(20, 3)).astype(dtype)
        for y in (np.arange(20) % 2, np.arange(20) % 3):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                MLPClassifier((3,), max_iter=2, n_threads=1).fit(X, y).predict(X)
        Network([Dense(3, 2)], dtype=dtype).compile_predictor()(X[0])


def _watch(cases: list[tuple[int, guarded.Mode]], shown: bool) -> int:
    """Run cases in a child; returns how many are done, the last of which it may have died of."""
    reads, writes = os.pipe()
    with tempfile.TemporaryFile() as crash:
        pid = os.fork()
        if pid == 0:
            os.close(reads)
            _child(cases, os.fdopen(writes, "w", buffering=1), crash)
        os.close(writes)
        with os.fdopen(reads, "rb", buffering=0) as pipe:
            done, steps, hangs = _listen(pipe, shown)
        if hangs:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if done == len(cases) and not hangs:
            return done
        number, mode = cases[min(done, len(cases) - 1)]
        crash.seek(0)
        how = f"hangs for {_SECONDS_A_CASE:.0f} s" if hangs else _how(status, crash.read())
        _report({"failure": f"{number} ({mode}): {how}; {' | '.join(steps)}", "counts": {"cases": 1}})
        return done + 1


def _listen(pipe: Any, shown: bool) -> tuple[int, list[str], bool]:
    """What a child says: cases that it ended, steps of the one it is at, whether that hangs."""
    done, steps, rest = 0, [], b""
    deadline = time.monotonic() + _SECONDS_A_CASE
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return done, steps, True
        data = os.read(pipe.fileno(), 1 << 16)
        if not data:
            return done, steps, False
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "step" in message:
                steps.append(message["step"])
                if shown:
                    _report(message)
            else:
                done, steps = done + 1, []
                deadline = time.monotonic() + _SECONDS_A_CASE
                for failure in message.pop("failures"):
                    _report({"failure": failure})
                _report(message)


def _how(status: int, crash: bytes) -> str:
    """How a child died, and where in the library."""
    text = crash.decode(errors="replace")
    places = [line.strip() for line in text.splitlines() if "fastmlp" in line and "File" in line]
    inner = [p for p in places if f"{os.sep}tests{os.sep}" not in p][:1]
    where = inner[0].replace(str(_ROOT), "") if inner else "nowhere in the library"
    if os.WIFSIGNALED(status):
        return f"dies of {signal.Signals(os.WTERMSIG(status)).name} at {where}"
    return f"ends with {os.WEXITSTATUS(status)} at {where}"


def _report(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


# ---------------------------------------------------------------------- in a child


def _child(cases: list[tuple[int, guarded.Mode]], pipe: IO[str], crash: IO[bytes]) -> None:
    """Never returns."""
    status = 1
    try:
        faulthandler.enable(crash, all_threads=False)
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        sys.setswitchinterval(1e-4)
        warnings.simplefilter("ignore")
        with tempfile.TemporaryDirectory() as folder:
            for number, mode in cases:
                pipe.write(json.dumps(_one_case(number, mode, Path(folder), pipe)) + "\n")
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        pipe.flush()
        os._exit(status)


def _one_case(number: int, mode: guarded.Mode, folder: Path, pipe: IO[str]) -> dict[str, Any]:
    from . import estimators, networks, parts
    from .case import Case, Ended, Raised

    def tell(step: str) -> None:
        pipe.write(json.dumps({"step": step}) + "\n")

    rng = np.random.default_rng([20_000, number])
    case = Case(number, mode, rng, folder, tell)
    kinds = (estimators, networks, estimators, networks, parts)
    kind = kinds[number % len(kinds)]
    tell(f"case {number}, arrays guarded at their {mode}")
    try:
        with guarded.arrays(mode):
            kind.run(case)
    except Ended:
        pass
    except (Exception, KeyboardInterrupt) as error:
        if not isinstance(error, Raised):
            text = "".join(traceback.format_exception(error)[-2:]).replace("\n", " ")
            case.fail(f"outside of a step: {text}")
    for path in folder.iterdir():
        path.unlink()
    name = kind.__name__.rpartition(".")[2]
    case.counts["cases"] = 1
    return {
        "counts": dict(case.counts) | {f"of {name}": 1},
        "failures": [f"{number} ({mode}, {name}): {what}" for what in case.failures],
    }


if __name__ == "__main__":
    monitor(*map(int, sys.argv[1:4]), sys.argv[4] or None, shown=len(sys.argv) > 5)
