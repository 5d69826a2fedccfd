"""Recipes: the numbers by which networks for tables are made and trained.

"realmlp" and "realmlp-simple" are those of "Better by default" (Holzmüller, Grinsztajn and
Steinwart, NeurIPS 2024), from which "realmlp-piecewise" differs in its embeddings and number of
epochs; "tabm-mini" is that of "TabM" (Gorishniy, Kotelnikov and Babenko, ICLR 2025).
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
        In the first half of training, or in all of it where there are members.
    rates : dict of str to float
        The learning rate by task.
    activations : dict of str to str
        The activation by task.
    n_members : int
        Members of each network, which share its weights.
    patience : int or None
        After how many epochs without a better one training ends, if it ends early.
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
    activations: dict[str, str] = field(
        default_factory=lambda: {"classes": "selu", "numbers": "mish"}
    )
    max_iter: int = 256
    batch_size: int = 256
    label_smoothing: float = 0.1
    n_members: int = 1
    patience: int | None = None


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
        Recipe(
            "tabm-mini", number_embedding="piecewise", max_one_hot=8, is_learned=False,
            fits_data=False, dropout=0.1, weight_decay=3e-4,
            rates={"classes": 0.002, "numbers": 0.002}, hidden=(512, 512, 512),
            activations={"classes": "relu", "numbers": "relu"}, label_smoothing=0.0, n_members=32,
            patience=16,
        ),
    )
}  # fmt: skip


def recipe_of(where: str, name: Any) -> Recipe:
    """The recipe of a name."""
    if name not in RECIPES:
        advice = did_you_mean(str(name), RECIPES, "choose one")
        raise InputError(where, f"recipe to be one of {', '.join(RECIPES)}", repr(name), advice)
    return RECIPES[name]
