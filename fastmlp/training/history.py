"""What happened in a fit, one entry per epoch.

The fit loop writes it; callbacks, checkpoints and the command line's JSON report receive it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import counted


@dataclass(repr=False)
class History:
    """What happened in a fit, one entry per epoch.

    Parameters
    ----------
    loss : list of float, optional
        Mean training loss of the epoch's batches, penalties included.
    validation_loss, validation_score : list of float, optional
        After the epoch; empty without validation data.
    learning_rate : list of float, optional
        Of the epoch's last step.
    seconds : list of float, optional
        Time the epoch took, in seconds, validation included and compiling left out.
    stopped : str, default "finished"
        Why the fit ended: "finished", "early_stopping", "callback", or "interrupted" by Ctrl-C; an
        epoch that it cut short is not counted. Only fits of `fit_many` are "failed"; others raise
        an error.
    error : str, default ""
        Why it failed.

    Examples
    --------
    >>> from fastmlp import Dense, History, Network
    >>> history = Network([Dense(2)]).fit([[0.0], [1.0]], [0, 1], epochs=3)
    >>> history.epochs, len(history.loss), history.stopped
    (3, 3, 'finished')
    >>> History([0.75, 0.5], seconds=[0.1, 0.1])
    History(2 epochs in 0.20 s, finished: loss 0.75 to 0.5)
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped: str = "finished"
    error: str = ""

    def __repr__(self) -> str:
        """Epochs, seconds and how each curve went, on one line."""
        curves = [
            f"{name} {values[0]:.4g} to {values[-1]:.4g}"
            for name in ("loss", "validation_loss", "validation_score")
            if (values := getattr(self, name))
        ]
        epochs, seconds = counted(self.epochs, "epoch"), f"{sum(self.seconds):.2f} s"
        how = ": " + ", ".join(curves) if curves else ""
        return f"History({epochs} in {seconds}, {self.stopped}{how})"

    @property
    def epochs(self) -> int:
        """Epochs so far."""
        return len(self.loss)

    def add(
        self, loss: float, validation: tuple[float, float] | None, rate: float, seconds: float
    ) -> None:
        """Append an epoch, whole, so that all lists stay of one length.

        Parameters
        ----------
        loss : float
            Mean training loss.
        validation : (float, float) or None
            Loss and score on the validation data, if there are any.
        rate : float
            Learning rate of the last step.
        seconds : float
            Time the epoch took.
        """
        self.loss.append(loss)
        if validation is not None:
            self.validation_loss.append(validation[0])
            self.validation_score.append(validation[1])
        self.learning_rate.append(rate)
        self.seconds.append(seconds)

    def to_dict(self) -> dict[str, Any]:
        """All entries as plain data, for JSON.

        Returns
        -------
        dict
            Lists by name, "stopped", and "error" if the fit failed.
        """
        found = asdict(self)
        if not self.error:
            del found["error"]
        return found
