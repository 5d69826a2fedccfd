"""Layers with one learned number per column: Scale and PReLU.

Penalties and weight decay do not apply to these numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..inputs import checks
from ..kernels.ops import prelu, scale
from ..kernels.ops.kind import Kind
from .compiled_layer import CompiledLayer
from .layer import LAYERS


class _OnePerColumn(CompiledLayer):
    """Common base: `weight` (n_in,), with the initial value `start`."""

    keeps_width: ClassVar[bool] = True
    start: float

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_in is not None
        return {"weight": (self.n_in,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters["weight"][...] = self.start


@LAYERS.register
@dataclass
class Scale(_OnePerColumn):
    """Multiplies each column by a learned factor.

    As the first layer it learns how much each input counts.

    Parameters
    ----------
    start : float, default 1.0
        The factors before training.

    Raises
    ------
    InputError
        For a start that is not finite.

    Notes
    -----
    y = weight x, with the parameter "weight" of shape (n_in,). Penalties and weight decay do not
    apply to it.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart, "Better by default: Strong pre-tuned MLPs and boosted
    trees on tabular data", NeurIPS 2024, which uses such a layer as the first one.

    Examples
    --------
    >>> from fastmlp import Scale
    >>> Scale(2.0).forward([[1.0, -3.0]])
    array([[ 2., -6.]])
    """

    name: ClassVar[str] = "scale"
    kind: ClassVar[Kind] = scale.KIND
    is_before_activation: ClassVar[bool] = True
    start: float = 1.0

    def __post_init__(self) -> None:
        checks.number("Scale", "start", self.start)


@LAYERS.register
@dataclass
class PReLU(_OnePerColumn):
    """Rectified linear unit with a learned slope below zero for each column.

    Parameters
    ----------
    start : float, default 0.25
        The factors before training.

    Raises
    ------
    InputError
        For a start that is not finite.

    Notes
    -----
    y = x above 0, else weight x, with the parameter "weight" of shape (n_in,). Penalties and weight
    decay do not apply to it.

    References
    ----------
    He, Zhang, Ren and Sun, "Delving deep into rectifiers: Surpassing human-level performance on
    ImageNet classification", ICCV 2015.

    Examples
    --------
    >>> from fastmlp import PReLU
    >>> PReLU().forward([[-1.0, 2.0]])
    array([[-0.25,  2.  ]])
    """

    name: ClassVar[str] = "prelu"
    kind: ClassVar[Kind] = prelu.KIND
    start: float = 0.25

    def __post_init__(self) -> None:
        checks.number("PReLU", "start", self.start)
