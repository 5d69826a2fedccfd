"""Layers with one learned number per column: Scale, PReLU and ParametricActivation.

Penalties and weight decay do not apply to these numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import InputTypeError
from ..inputs import checks
from ..kernels.compiler.calls import Kernel
from ..kernels.ops import parametric, prelu, scale
from ..kernels.ops.kind import Kind
from .activations import Activation
from .compiled_layer import CompiledLayer
from .layer import LAYERS, Layer


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


@LAYERS.register
@dataclass
class ParametricActivation(_OnePerColumn):
    """An activation whose strength is learned for each column, between none and more than full.

    Parameters
    ----------
    activation : str or Activation, default "relu"
        The activation, by name or as an object.
    start : float, default 1.0
        The factors before training; 1 is the activation itself, 0 leaves numbers unchanged.

    Raises
    ------
    InputError
        For an unknown activation, and a start that is not finite.

    Notes
    -----
    y = x + weight (f(x) - x), with the parameter "weight" of shape (n_in,). Penalties and weight
    decay do not apply to it.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart, "Better by default: Strong pre-tuned MLPs and boosted
    trees on tabular data", NeurIPS 2024.

    Examples
    --------
    >>> from fastmlp import ParametricActivation
    >>> ParametricActivation("relu", start=0.5).forward([[-2.0, 3.0]])
    array([[-1.,  3.]])
    """

    name: ClassVar[str] = "parametric_activation"
    kind: ClassVar[Kind] = parametric.KIND
    activation: Any = "relu"
    start: float = 1.0

    def __post_init__(self) -> None:
        self.activation: Activation = LAYERS.make(self.activation, Activation)
        kind = type(self.activation)
        is_own = "kernel" in vars(kind) and all(
            getattr(kind, name) is getattr(Activation, name) for name in ("forward", "backward")
        )
        if kind not in LAYERS and not is_own:  # as an inherited kernel may not be what it computes
            raise InputTypeError(
                "ParametricActivation", "an activation with a compiled rule",
                repr(self.activation), "use one of fastmlp's, or a compiled_activation",
            )  # fmt: skip
        checks.number("ParametricActivation", "start", self.start)

    @property
    def activation_name(self) -> str:
        return self.activation.name

    @property
    def options(self) -> tuple[float, ...]:
        return (float(self.activation.option),)

    @property
    def kernels(self) -> dict[str, Kernel]:
        return {"inner": self.activation.kernel}

    @classmethod
    def from_specification(cls, fields: dict[str, Any], make: Callable[[Any], Layer]) -> Layer:
        return cls(**{**fields, "activation": make(fields["activation"])})
