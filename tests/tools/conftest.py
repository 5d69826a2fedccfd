"""Calling commands in this process, for tests of the command line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from fastmlp.tools import cli


class Done(NamedTuple):
    code: int
    out: str
    err: str

    def figure(self, label: str) -> str:
        """What a printed report says beside a label."""
        rows = [line.strip().partition("  ") for line in self.out.splitlines()]
        return next(right.strip() for left, _, right in rows if left == label)

    def table(self) -> pd.DataFrame:
        return pd.read_csv(io.StringIO(self.out))


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Call a command in this process."""

    def call(*arguments: str | Path) -> Done:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call
