"""The numba internals that the kernels' compiler uses exist in the installed version.

After a new release of numba, this shows what has changed; then update pyproject.toml.
"""

from __future__ import annotations

from typing import Any

import pytest

from fastmlp.kernels.compiler.jit import JIT_ENABLED

pytestmark = pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")


def test_numba_has_all_that_is_used_of_its_inside() -> None:
    from fastmlp.kernels.compiler import numba_internals

    assert numba_internals.NEEDED
    assert numba_internals.changed() == []


def test_changes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastmlp.kernels.compiler import numba_internals

    class Library:
        def finalize(self, at_once: bool = True) -> None: ...

    needed: dict[Any, dict[str, str]] = {Library: {"finalize": "self", "add": "self, code"}}
    monkeypatch.setattr(numba_internals, "NEEDED", needed)
    first, second = numba_internals.changed()
    assert first.startswith("Library.finalize takes (self, at_once")
    assert second == "Library.add is gone"
