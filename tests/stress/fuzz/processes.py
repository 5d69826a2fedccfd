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
from typing import IO, Any, NamedTuple

import numpy as np

from .. import guarded
from ..outcome import Outcome

_ROOT = Path(__file__).resolve().parents[3]
_MONITORS, _WORTH_TWO = 2, 100  # cases
_SECONDS = 60.0  # of one case; beyond it, it hangs
_CASES_A_CHILD = 100
_SEEDS_APART = 1_000_000  # of the numbers of cases that two seeds of a run lead to
# Threads of other libraries must not live where a process forks; kernels have threads of their own.
_ENVIRONMENT = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Orders(NamedTuple):
    """What a monitor is told: which cases to run, and how."""

    first: int
    last: int  # the end of the range
    step: int
    plant: str | None = None
    seconds: float = _SECONDS
    shown: bool = False


# ---------------------------------------------------------------------- in the first process


def run(count: int, seed: int, plant: str | None = None, seconds: float = _SECONDS) -> Outcome:
    """So many cases; each failure begins with the number by which its case is repeated.

    plant: a fault to put in, of `instruments.PLANTS`; seconds: what a case may take.
    """
    outcome = Outcome()
    if not guarded.IS_SUPPORTED:
        outcome.counts[f"cases, since {guarded.WHY_NOT}"] = 0
        return outcome
    first, step = seed * _SEEDS_APART, _MONITORS if count >= _WORTH_TWO else 1
    orders = [Orders(first + i, first + count, step, plant, seconds) for i in range(step)]
    with concurrent.futures.ThreadPoolExecutor(step) as pool:
        for part in pool.map(_monitored, orders):
            outcome.counts += part.counts
            outcome.failures += part.failures
    outcome.failures.sort()
    return outcome


def show(number: int, plant: str | None = None) -> Outcome:
    """One case, with its steps on the standard output."""
    outcome = Outcome()
    for message in _start(Orders(number, number + 1, 1, plant, shown=True)):
        _take(outcome, message, shown=True)
    return outcome


def _monitored(orders: Orders) -> Outcome:
    outcome = Outcome()
    for message in _start(orders):
        _take(outcome, message)
    return outcome


def _start(orders: Orders) -> Iterator[dict[str, Any]]:
    module, text = f"{__package__}.processes", json.dumps(orders)
    command = [sys.executable, "-W", "ignore", "-m", module, text]
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


def monitor(orders: Orders) -> None:
    """Run cases in children; report on the standard output."""
    from . import instruments

    _warm_up()
    instruments.prepare(orders.plant)
    guarded.hook()
    numbers = range(orders.first, orders.last, orders.step)
    waiting = [(number, mode) for number in numbers for mode in guarded.MODES]
    while waiting:
        done = _watch(waiting[:_CASES_A_CHILD], orders)
        waiting = waiting[done:]


def _warm_up() -> None:
    """Load all compiled code before the first fork, or each child would load it anew."""
    from scipy import sparse

    from fastmlp import Adam, Dense, Dropout, MLPClassifier, Network, Tanh

    from ...support import Own

    rows = np.random.default_rng(0).normal(size=(20, 3))
    for dtype in ("float32", "float64"):
        X = rows.astype(dtype)
        for loss, y in (("softmax_cross_entropy", np.arange(20) % 3), ("huber", rows[:, :2])):
            for more in ([], [Own()]):
                layers = [Dense(4, max_norm=1.0), Tanh(), Dropout(0.1), *more, Dense(y.ndim + 1)]
                layers[-1] = Dense(3 if loss.startswith("s") else 2)
                network = Network(layers, loss, dtype, l2=0.1)
                for table in (X, X.astype(np.float16), sparse.csr_matrix(X)):
                    network.fit(table, y, epochs=1, optimizer=Adam(clip_norm=0.1), n_threads=1)
                    network.evaluate(table, y)
                    network.loss_and_gradient(table, y)
        Network([Dense(3, 2)], dtype=dtype).compile_predictor()(X[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            MLPClassifier((3,), max_iter=2, n_threads=1).fit(X, y[:, 0] > 0).predict(X)


def _watch(cases: list[tuple[int, guarded.Mode]], orders: Orders) -> int:
    """Run cases in a child; returns how many are done, the last of which it may have died of."""
    reads, writes = os.pipe()
    with tempfile.TemporaryFile() as crash:
        pid = os.fork()
        if pid == 0:
            os.close(reads)
            _child(cases, os.fdopen(writes, "w", buffering=1), crash)
        os.close(writes)
        with os.fdopen(reads, "rb", buffering=0) as pipe:
            done, steps, hangs = _listen(pipe, orders)
        if hangs:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if done == len(cases) and not hangs:
            return done
        number, mode = cases[min(done, len(cases) - 1)]
        crash.seek(0)
        how = f"hangs for {orders.seconds:.0f} s" if hangs else _how(status, crash.read())
        _report(
            {"failure": f"{number} ({mode}): {how}; {' | '.join(steps)}", "counts": {"cases": 1}}
        )
        return done + 1


def _listen(pipe: Any, orders: Orders) -> tuple[int, list[str], bool]:
    """What a child says: cases that it ended, steps of the one it is at, whether that hangs."""
    done, steps, rest = 0, list[str](), b""
    deadline = time.monotonic() + orders.seconds
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
                if orders.shown:
                    _report(message)
            else:
                done, steps = done + 1, []
                deadline = time.monotonic() + orders.seconds
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
    monitor(Orders(*json.loads(sys.argv[1])))
