"""The network and the optimizer that a recipe makes for a prepared table.

Layers are added in the order of the data, each with the factors of its learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network import Network
from ..nn import (
    LAYERS,
    NTK,
    Columns,
    Cosine,
    Dense,
    Dropout,
    Embedding,
    GroupedDense,
    HePlus,
    Layer,
    Normal,
    ParametricActivation,
    PiecewiseLinear,
    Scale,
    Uniform,
    UnitVariance,
)
from ..nn.grouped import quantile_edges
from ..nn.losses import Loss, MeanSquaredError, Quantile, SoftmaxCrossEntropy
from ..optim.optimizers import Adam, Factor
from ..optim.schedules import FlatCosine, LogCosine
from .preparation import Layout, Preparation
from .recipes import AUTO, Recipe

_N_FREQUENCIES, _FREQUENCY, _PERIODIC_WIDTH = 16, 0.1, 3
_N_BINS, _PIECEWISE_WIDTH = 32, 4
_BETA2 = 0.95


@dataclass(frozen=True)
class Setting:
    """What users may change of a recipe; None leaves it.

    Attributes
    ----------
    hidden : tuple of int, optional
    learning_rate, dropout, weight_decay : float, optional
    label_smoothing : float
    number_embedding : {"auto", "periodic", "piecewise"} or None
    levels : tuple of float
        Of quantiles, if those are to be learnt instead of means.
    n_members : int, optional
        Members of each network.
    """

    hidden: tuple[int, ...] | None = None
    learning_rate: float | None = None
    dropout: float | None = None
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    number_embedding: str | None = AUTO
    levels: tuple[float, ...] = ()
    n_members: int | None = None


class Plan:
    """A network's layers, with the factor of the learning rate of each parameter.

    Parameters
    ----------
    recipe : Recipe
    setting : Setting
    layout : Layout
        Of the prepared table.
    task : {"classes", "numbers"}
    X : ndarray of shape (n, n_columns)
        Prepared rows of the training.
    """

    def __init__(
        self, recipe: Recipe, setting: Setting, layout: Layout, task: str, X: np.ndarray
    ) -> None:
        self.recipe, self.setting, self.layout, self.task, self.X = recipe, setting, layout, task, X
        self.layers = list[Layer]()
        self.factors = dict[str, Factor]()

    @property
    def dropout(self) -> float:
        """In the first half of training."""
        return self.recipe.dropout if self.setting.dropout is None else self.setting.dropout

    @property
    def weight_decay(self) -> float:
        """In the first half of training."""
        chosen = self.setting.weight_decay
        return self.recipe.weight_decay if chosen is None else chosen

    @property
    def rate(self) -> float:
        """The largest learning rate."""
        chosen = self.setting.learning_rate
        return self.recipe.rates[self.task] if chosen is None else chosen

    def _add(self, layer: Layer, **factors: Factor) -> None:
        for key, factor in factors.items():
            self.factors[f"{len(self.layers)}.{key.replace('_', '.')}"] = factor
        self.layers.append(layer)

    def inputs(self) -> None:
        """Layers from the prepared table to the first dense one."""
        self._embed()
        self._add(Scale(), weight=Factor(6.0, 6.0))

    def _embed(self) -> None:
        """Embeddings of numbers and of categories, beside numbers and flags themselves."""
        layout, recipe = self.layout, self.recipe
        n_continuous = layout.n_numbers + layout.n_flags
        branches, factors = list[Any](), dict[str, Factor]()
        embedding = self.setting.number_embedding
        embedding = recipe.number_embedding if embedding == AUTO else embedding
        if embedding is not None and layout.n_numbers:
            layers, factors = NUMBER_EMBEDDINGS[embedding](self.X[:, : layout.n_numbers])
            branches.append((range(layout.n_numbers), layers))
        if branches or layout.n_codes:
            if n_continuous:
                branches.append((range(n_continuous), []))
            if layout.n_codes:
                table = Embedding(layout.n_levels, recipe.embedding_size)
                branches.append((range(n_continuous, layout.n_columns), [table]))
            self._add(Columns(*branches), **{f"0_{key}": each for key, each in factors.items()})

    def hidden(self, width: int) -> None:
        """A hidden layer."""
        recipe, activation = self.recipe, self.recipe.activations[self.task]
        self._dense(width)
        if recipe.is_learned:
            self._add(ParametricActivation(activation), weight=Factor(0.1, 0.1))
        else:
            self._add(LAYERS[activation]())
        if self.dropout:
            self._add(Dropout(FlatCosine(self.dropout)))

    def outputs(self, n_outputs: int) -> None:
        """The last layer."""
        self._dense(n_outputs, is_last=True)

    def loss(self) -> Loss:
        """What is minimised."""
        if self.task == "classes":
            return SoftmaxCrossEntropy(label_smoothing=self.setting.label_smoothing)
        levels = self.setting.levels
        return Quantile(levels) if levels else MeanSquaredError()

    def optimizer(self) -> Adam:
        """How it is minimised, once there are all layers."""
        decay = self.weight_decay
        return Adam(
            LogCosine(self.rate), beta2=_BETA2, factors=self.factors,
            weight_decay=FlatCosine(decay) if decay else 0.0,
        )  # fmt: skip

    def _dense(self, width: int, is_last: bool = False) -> None:
        if self.recipe.fits_data:
            made = Dense(width, initializer=UnitVariance(), bias_initializer=HePlus())
        elif is_last:
            made = Dense(width, initializer=NTK(0.0), bias_initializer="zeros")
        else:
            made = Dense(width, initializer=NTK(), bias_initializer=Normal(1.0))
        self._add(made, b=Factor(0.1, 0.0))


def _periodic(_: np.ndarray) -> tuple[list[Layer], dict[str, Factor]]:
    """Linear functions of cosines of the number, of which frequency and phase are learned."""
    frequency, span = 2 * math.pi * _FREQUENCY, 1 / math.sqrt(_N_FREQUENCIES)
    layers: list[Layer] = [
        GroupedDense(_N_FREQUENCIES, 1, Normal(frequency), Uniform(math.pi)),
        Cosine(),
        GroupedDense(_PERIODIC_WIDTH, _N_FREQUENCIES, Uniform(span), Uniform(span)),
    ]
    slow = Factor(0.1, 0.1)
    # The layer has frequencies times 2 pi, so its steps are that much longer.
    frequencies = Factor(0.1 * 2 * math.pi, 0.1 / (2 * math.pi))
    return layers, {"0_W": frequencies, "0_b": slow, "2_W": slow, "2_b": slow}


def _piecewise(X: np.ndarray) -> tuple[list[Layer], dict[str, Factor]]:
    """Piecewise linear functions of the number, with about equally many rows in each piece."""
    span = 1 / math.sqrt(_N_BINS)
    layers: list[Layer] = [
        PiecewiseLinear(quantile_edges(X, _N_BINS)),
        GroupedDense(_PIECEWISE_WIDTH, _N_BINS, Uniform(span), "zeros"),
    ]
    slower = Factor(0.3, 0.3)
    return layers, {"1_W": slower, "1_b": slower}


# What is made of each number beside the number itself: layers, with factors of their rates.
NUMBER_EMBEDDINGS: dict[str, Callable[..., tuple[list[Layer], dict[str, Factor]]]] = {
    "periodic": _periodic,
    "piecewise": _piecewise,
}


def network_for(plan: Plan, n_outputs: int, seed: int) -> tuple[Network, Adam]:
    """A network that is not built yet, and its optimizer."""
    chosen = plan.setting.hidden
    plan.inputs()
    for width in plan.recipe.hidden if chosen is None else chosen:
        plan.hidden(width)
    plan.outputs(n_outputs)
    return Network(plan.layers, plan.loss(), random_state=seed), plan.optimizer()


def give_unknown_means(network: Network, preparation: Preparation, X: np.ndarray) -> None:
    """Let categories that a network has not seen be the mean of those that it has.

    Nothing has trained their vectors, which are still random. X: the prepared rows of its training.
    """
    tables = [layer for _, layer in network.leaves() if isinstance(layer, Embedding)]
    coded = [plan for plan in preparation.plans if plan.as_codes]
    start = preparation.layout.n_columns - len(coded)
    for place, (plan, first) in enumerate(zip(coded, preparation.layout.unknown, strict=True)):
        W = tables[0].parameters["W"][first : first + 1 + len(plan.levels)]
        is_seen = np.zeros(len(W), bool)
        is_seen[X[:, start + place].astype(np.int64) - first] = True
        W[~is_seen] = W[is_seen].mean(axis=0)
