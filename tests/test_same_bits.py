"""The comparison of two versions finds differences in their trained parameters, and only those."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import fastmlp

from . import same_bits

pytestmark = pytest.mark.slow

PACKAGE = Path(fastmlp.__file__).parent
ONE_EPOCH_MORE = """
_fit = Network.fit
Network.fit = lambda self, X, y, *, epochs, **rest: _fit(self, X, y, epochs=epochs + 1, **rest)
"""


def copy_of(package: Path, folder: Path, more: str = "") -> Path:
    shutil.copytree(package, folder / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "fastmlp" / "network.py").open("a", encoding="utf-8") as file:
        file.write(more)
    return folder


def test_a_copy_trains_to_the_same_bits(tmp_path: Path) -> None:
    found, fitted = same_bits.differences(PACKAGE.parent, copy_of(PACKAGE, tmp_path), 0, 12)
    assert found == []
    assert fitted > 6


def test_a_version_that_trains_otherwise_is_noticed(tmp_path: Path) -> None:
    other = copy_of(PACKAGE, tmp_path, ONE_EPOCH_MORE)
    found, fitted = same_bits.differences(PACKAGE.parent, other, 0, 12)
    names = same_bits._ask(PACKAGE.parent, None)
    networks = sum(same_bits.drawn(i, names).kind == "network" for i in range(12))
    assert len(found) == networks - (12 - fitted)


def test_cases_differ_in_all_that_they_draw() -> None:
    names = same_bits._names()
    cases = [same_bits.drawn(number, names) for number in range(300)]
    for field in ("kind", "loss", "dtype", "inputs", "n_threads", "shape"):
        assert len({getattr(case, field) for case in cases}) > 1, field
    assert {case.loss for case in cases} == set(names["LOSSES"])
    assert {case.optimizer[0] for case in cases} == set(names["OPTIMIZERS"])
    assert {case.optimizer[1]["schedule"] for case in cases} == set(names["SCHEDULES"])
    used = {part for case in cases for part in case.layers if isinstance(part, str)}
    assert used == set(names["LAYERS"]) - {"dense"}
