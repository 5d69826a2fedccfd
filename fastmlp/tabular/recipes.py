"""Recipes: the numbers by which networks for tables are made and trained.

"realmlp" and "realmlp-simple" are those of "Better by default" (Holzmüller, Grinsztajn and
Steinwart, NeurIPS 2024); "realmlp-piecewise" differs in its embeddings and trains a quarter less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import InputError, did_you_mean

AUTO = "auto"  # of an option: what the recipe says


@dataclass(frozen=True)
class Recipe:
    """How networks for tables are made and trained.

    Attributes
    ----------
    name : str
    number_embedding : {"periodic", "piecewise"} or None
        What is made of each number beside the number itself.
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
    number_embedding: str | None
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
            "realmlp-piecewise", number_embedding="piecewise", max_one_hot=8, is_learned=True,
            fits_data=True, dropout=0.15, weight_decay=0.02,
            rates={"classes": 0.04, "numbers": 0.2}, max_iter=192,
        ),
        Recipe(
            "realmlp", number_embedding="periodic", max_one_hot=8, is_learned=True, fits_data=True,
            dropout=0.15, weight_decay=0.02, rates={"classes": 0.04, "numbers": 0.2},
        ),
        Recipe(
            "realmlp-simple", number_embedding=None, max_one_hot=100, is_learned=False,
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
