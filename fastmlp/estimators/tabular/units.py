"""Converts networks' outputs to predictions: probabilities, or numbers in the target's units.

Estimators and predictors share this code, so their predictions agree.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from ..quantiles import rearranged


class Units(Protocol):
    """Turns outputs after the link into answers."""

    def of_rows(self, outputs: np.ndarray) -> np.ndarray:
        """Answers from outputs (n, n_outputs)."""

    def of_row(self, outputs: np.ndarray) -> Any:
        """The answer from the outputs (n_outputs,) of one row."""


class Probabilities(NamedTuple):
    """Of classes: outputs themselves."""

    def of_rows(self, outputs: np.ndarray) -> np.ndarray:
        """The same."""
        return outputs

    def of_row(self, outputs: np.ndarray) -> np.ndarray:
        """The same."""
        return outputs


class Standardised(NamedTuple):
    """Outputs that are to be scaled, moved and kept within the range of the training targets.

    Attributes
    ----------
    mean, scale, low, high : ndarray
        A number for each output, or without dimensions for one output.
    n_levels : int
        Quantiles of each target, which are sorted.
    """

    mean: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_levels: int

    def of_rows(self, outputs: np.ndarray) -> np.ndarray:
        """Numbers (n,) or (n, n_outputs), float64."""
        found = outputs if self.mean.ndim else outputs[:, 0]
        units = np.clip(found.astype(np.float64) * self.scale + self.mean, self.low, self.high)
        return rearranged(units, self.n_levels) if self.n_levels > 1 else units

    def of_row(self, outputs: np.ndarray) -> Any:
        """A number, or an array (n_outputs,)."""
        if self.mean.ndim:
            return self.of_rows(outputs.reshape(1, -1))[0]
        found = float(outputs[0]) * float(self.scale) + float(self.mean)
        return min(max(found, float(self.low)), float(self.high))
