"""Recipes: what network a prepared table gets, and how it is trained.

Numbers are those of "Better by default" (Holzmüller, Grinsztajn and Steinwart, NeurIPS 2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, did_you_mean
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
    Scale,
    Uniform,
    UnitVariance,
)
from ..nn.losses import MeanSquaredError, SoftmaxCrossEntropy
from ..optim.optimizers import Adam, Factor
from ..optim.schedules import FlatCosine, LogCosine
from .preparation import Layout, Preparation

_NUMBER_WIDTH = 3  # outputs of the embedding of a number, beside the number itself
_N_FREQUENCIES, _FREQUENCY = 16, 0.1
_BETA2 = 0.95


@dataclass(frozen=True)
class Recipe:
    """How networks for tables are made and trained.

    Attributes
    ----------
    name : str
    embeds_numbers : bool
        Whether numbers get periodic features.
    embedding_size : int
        Numbers for each category of a column with many.
    max_one_hot : int
        Columns with at most so many categories get a column for each.
    is_learned : bool
        Whether activations have a learned strength.
    fits_data : bool
        Whether initial values suit the data.
    dropout, weight_decay : float
        In the first half of training.
    rates : dict of str to float
        The learning rate by task.
    """

    name: str
    embeds_numbers: bool
    max_one_hot: int
    is_learned: bool
    fits_data: bool
    dropout: float
    weight_decay: float
    rates: dict[str, float]
    embedding_size: int = 8
    hidden: tuple[int, ...] = (256, 256, 256)
    activations = {"classes": "selu", "numbers": "mish"}  # noqa: RUF012 a constant
    max_iter: int = 256
    batch_size: int = 256
    label_smoothing: float = 0.1


RECIPES = {
    one.name: one
    for one in (
        Recipe(
            "realmlp", embeds_numbers=True, max_one_hot=8, is_learned=True, fits_data=True,
            dropout=0.15, weight_decay=0.02, rates={"classes": 0.04, "numbers": 0.2},
        ),
        Recipe(
            "realmlp-simple", embeds_numbers=False, max_one_hot=100, is_learned=False,
            fits_data=False, dropout=0.0, weight_decay=0.0,
            rates={"classes": 0.04, "numbers": 0.07},
        ),
    )
}  # fmt: skip


def recipe_of(where: str, name: Any) -> Recipe:
    """The recipe of a name."""
    if name not in RECIPES:
        advice = did_you_mean(str(name), RECIPES, "choose one")
        raise InputError(where, f"recipe to be one of {', '.join(RECIPES)}", repr(name), advice)
    return RECIPES[name]


class Plan:
    """A network's layers, with the factor of the learning rate of each parameter.

    Parameters
    ----------
    recipe : Recipe
    layout : Layout
        Of the prepared table.
    task : {"classes", "numbers"}
    """

    def __init__(self, recipe: Recipe, layout: Layout, task: str) -> None:
        self.recipe, self.layout, self.task = recipe, layout, task
        self.layers = list[Layer]()
        self.factors = dict[str, Factor]()

    def _add(self, layer: Layer, **factors: Factor) -> None:
        for key, factor in factors.items():
            self.factors[f"{len(self.layers)}.{key.replace('_', '.')}"] = factor
        self.layers.append(layer)

    def inputs(self) -> None:
        """Layers from the prepared table to the first dense one."""
        layout, recipe = self.layout, self.recipe
        numbers, n_continuous = range(layout.n_numbers), layout.n_numbers + layout.n_flags
        branches, factors = list[Any](), dict[str, Factor]()
        if recipe.embeds_numbers and layout.n_numbers:
            frequency, span = 2 * math.pi * _FREQUENCY, 1 / math.sqrt(_N_FREQUENCIES)
            branches.append((numbers, [
                GroupedDense(_N_FREQUENCIES, 1, Normal(frequency), Uniform(math.pi)),
                Cosine(),
                GroupedDense(_NUMBER_WIDTH, _N_FREQUENCIES, Uniform(span), Uniform(span)),
            ]))  # fmt: skip
            slow = Factor(0.1, 0.1)
            factors |= {"0_0_b": slow, "0_2_W": slow, "0_2_b": slow}
            # The layer has frequencies times 2 pi, so its steps are that much longer.
            factors["0_0_W"] = Factor(0.1 * 2 * math.pi, 0.1 / (2 * math.pi))
        if branches or layout.n_codes:
            if n_continuous:
                branches.append((range(n_continuous), []))
            if layout.n_codes:
                table = Embedding(layout.n_levels, recipe.embedding_size)
                branches.append((range(n_continuous, layout.n_columns), [table]))
            self._add(Columns(*branches), **factors)
        self._add(Scale(), weight=Factor(6.0, 6.0))

    def hidden(self, width: int) -> None:
        """A hidden layer."""
        recipe, activation = self.recipe, self.recipe.activations[self.task]
        self._dense(width)
        if recipe.is_learned:
            self._add(ParametricActivation(activation), weight=Factor(0.1, 0.1))
        else:
            self._add(LAYERS[activation]())
        if recipe.dropout:
            self._add(Dropout(FlatCosine(recipe.dropout)))

    def outputs(self, n_outputs: int) -> None:
        """The last layer."""
        self._dense(n_outputs, is_last=True)

    def _dense(self, width: int, is_last: bool = False) -> None:
        if self.recipe.fits_data:
            made = Dense(width, initializer=UnitVariance(), bias_initializer=HePlus())
        elif is_last:
            made = Dense(width, initializer=NTK(0.0), bias_initializer="zeros")
        else:
            made = Dense(width, initializer=NTK(), bias_initializer=Normal(1.0))
        self._add(made, b=Factor(0.1, 0.0))


@dataclass(frozen=True)
class Setting:
    """What users may change of a recipe; None leaves it."""

    hidden: tuple[int, ...] | None = None
    learning_rate: float | None = None
    label_smoothing: float = 0.0


def network_for(plan: Plan, setting: Setting, n_outputs: int, seed: int) -> tuple[Network, Adam]:
    """A network that is not built yet, and its optimizer."""
    recipe, task = plan.recipe, plan.task
    plan.inputs()
    for width in recipe.hidden if setting.hidden is None else setting.hidden:
        plan.hidden(width)
    plan.outputs(n_outputs)
    loss = (
        SoftmaxCrossEntropy(label_smoothing=setting.label_smoothing)
        if task == "classes"
        else MeanSquaredError()
    )
    rate = recipe.rates[task] if setting.learning_rate is None else setting.learning_rate
    optimizer = Adam(
        LogCosine(rate), beta2=_BETA2, factors=plan.factors,
        weight_decay=FlatCosine(recipe.weight_decay) if recipe.weight_decay else 0.0,
    )  # fmt: skip
    return Network(plan.layers, loss, random_state=seed), optimizer


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
