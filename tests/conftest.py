"""Settings shared by all tests: seeded randomness, the full MNIST, no display, which are slow.

Nothing here imports fastmlp, so that tests can check the effects of importing it.
"""

from __future__ import annotations

import gc
import os
import signal
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

# A shell that runs the tests in the background lets them ignore Ctrl-C, which some of them press.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Set before anything imports matplotlib, and inherited by the processes that tests start.
os.environ["MPLBACKEND"] = "Agg"

# A first call compiles kernels, which no per-example deadline allows for. CI draws the same
# examples on every run, so that a red run is never down to luck.
settings.register_profile("fastmlp", deadline=None)
settings.register_profile("fastmlp-ci", deadline=None, derandomize=True, database=None)
settings.load_profile("fastmlp-ci" if os.environ.get("CI") else "fastmlp")

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


# Maximum number of tests per file in the fast run, so that it stays fast as files grow.
FAST_TESTS_OF_A_FILE = 12


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that the quick run omits as slow, and tests of the fast run as fast.

    The choice depends only on a test's name, so it does not change when others are added.
    """
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in tests.values():
        cases.sort(key=_by_name)
    _thin(tests.values())
    _choose_fast(tests.values())


def _by_name(item: pytest.Item) -> int:
    """A sort key that is pseudo-random but always the same."""
    return zlib.crc32(item.nodeid.encode())


def _thin(tests: Iterable[list[Any]]) -> None:
    """Mark as slow those cases of a `thinned` test that a quick run can do without.

    `thinned` alone keeps each value of each parameter at least once, but not all combinations;
    `thinned(n)` keeps n cases. A `core` test keeps all.
    """
    for cases in tests:
        mark = cases[0].get_closest_marker("thinned")
        if mark is None or cases[0].get_closest_marker("core") or not hasattr(cases[0], "callspec"):
            continue
        for case in cases[mark.args[0] :] if mark.args else _without_new_values(cases):
            case.add_marker("slow")


def _without_new_values(cases: list[Any]) -> Iterator[Any]:
    """Those whose parameters have only values that cases before them have."""
    seen: set[tuple[str, int]] = set()
    for case in cases:
        # The cases of a test share the objects that they are parametrised with.
        values = {(name, id(value)) for name, value in case.callspec.params.items()}
        if values <= seen:
            yield case
        seen |= values


def _choose_fast(tests: Iterable[list[pytest.Item]]) -> None:
    """Mark one quick case of each test as fast, until a file has enough of them.

    Small ones, which the stage without the compiler has too, come first. Of a `core` test all quick
    cases are fast.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for cases in tests:
        quick = [case for case in cases if not case.get_closest_marker("slow")]
        if quick and quick[0].get_closest_marker("core"):
            for case in quick:
                case.add_marker("fast")
        elif quick:
            files.setdefault(quick[0].path, []).append(quick[0])
    for firsts in files.values():
        firsts.sort(key=lambda case: (case.get_closest_marker("nojit") is None, _by_name(case)))
        for case in firsts[:FAST_TESTS_OF_A_FILE]:
            case.add_marker("fast")


def pytest_collection_finish() -> None:
    """Spend no time on what no test is about, now that all modules have been imported.

    The garbage collector leaves alone what lives until the end, which is ten thousand tests. BLAS,
    which the kernels do without, takes one thread: small products of scikit-learn's own and of
    SciPy's L-BFGS would only keep others waiting.
    """
    gc.freeze()
    threadpool_limits(1, user_api="blas")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: the same alone, in any order and on any day."""
    path, _, name = request.node.nodeid.partition("::")
    seed = f"tests/{path.rpartition('/')[2]}::{name}"  # the same in whichever folder it is
    return np.random.default_rng(zlib.crc32(seed.encode()))


@pytest.fixture(scope="session")
def mnist_home() -> Path:
    """The folder with the full MNIST; a test that needs it is skipped where there is none."""
    beside = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "mnist"
    home = Path(os.environ.get("FASTMLP_MNIST") or beside).resolve()
    missing = [
        name
        for name in MNIST_FILES
        if not ((home / name).is_file() or (home / f"{name}.gz").is_file())
    ]
    if missing:
        pytest.skip(f"no full MNIST: {home} lacks {', '.join(missing)}; set FASTMLP_MNIST")
    return home


@pytest.fixture
def default_ctrl_c() -> Iterator[None]:
    """As in a process that was not started in the background, where Ctrl-C may be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
