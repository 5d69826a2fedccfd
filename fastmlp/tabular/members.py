"""The networks of recipes whose members share weights, as TabM-mini has them.

Each member begins with factors of its own and ends with a layer of its own.
"""

from __future__ import annotations

import math

from ..nn import LAYERS, Columns, Dropout, GroupedDense, Layer, Members, SharedDense, Uniform
from ..nn.losses import Loss, MeanOfMembers
from ..optim.optimizers import AdamW
from .networks import Plan


class MembersPlan(Plan):
    """As `Plan`, for members that share weights; all parameters have one learning rate."""

    _width = 0  # of each member, so far

    @property
    def n_members(self) -> int:
        """Members of the network."""
        chosen = self.setting.n_members
        return self.recipe.n_members if chosen is None else chosen

    def inputs(self) -> None:
        self._embed()
        sizes = _sizes_of_features(self.layers, self.layout.n_columns)
        start = "normal" if self.layers else "signs"
        self._add(Members(self.n_members, start, sizes))
        self._width = sum(sizes)

    def hidden(self, width: int) -> None:
        span = Uniform(1 / math.sqrt(self._width))
        self._add(SharedDense(width, self.n_members, span, span))
        self._add(LAYERS[self.recipe.activations[self.task]]())
        if self.dropout:
            self._add(Dropout(self.dropout))
        self._width = width

    def outputs(self, n_outputs: int) -> None:
        span = Uniform(1 / math.sqrt(self._width))
        self._add(GroupedDense(n_outputs, self._width, span, span))

    def loss(self) -> Loss:
        return MeanOfMembers(super().loss(), self.n_members)

    def optimizer(self) -> AdamW:
        return AdamW(self.rate, weight_decay=self.weight_decay)


def _sizes_of_features(embeddings: list[Layer], n_columns: int) -> list[int]:
    """Columns of each feature after the embeddings, if there are any: those of one begin alike."""
    sizes = list[int]()
    for columns in embeddings:
        assert isinstance(columns, Columns)
        columns.build(n_columns)
        for places, layers in columns.all_branches:
            width = layers[-1].n_out or 0 if layers else len(places)
            sizes += [width // len(places)] * len(places)
    return sizes or [1] * n_columns
