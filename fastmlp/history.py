"""What happened in a fit, one entry an epoch.

Written by the fit loop, handed to callbacks, kept in checkpoints and on the command line's JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class History:
    """What happened in a fit, one entry an epoch.

    Attributes
    ----------
    loss : list of float
        Mean training loss of the epoch's batches, penalties included.
    validation_loss, validation_score : list of float
        After the epoch; empty without validation data.
    learning_rate : list of float
        Of the epoch's last step.
    seconds : list of float
        Time the epoch took, validation included.
    stopped : str
        "finished", "callback" or "interrupted" (Ctrl-C, which waits for the epoch's end).
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped: str = "finished"

    @property
    def epochs(self) -> int:
        return len(self.loss)

    def add(
        self, loss: float, validation: tuple[float, float] | None, rate: float, seconds: float
    ) -> None:
        """Append an epoch, whole, so that all lists stay of one length."""
        self.loss.append(loss)
        if validation is not None:
            self.validation_loss.append(validation[0])
            self.validation_score.append(validation[1])
        self.learning_rate.append(rate)
        self.seconds.append(seconds)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        return asdict(self)
