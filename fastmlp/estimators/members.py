"""Ensembles: several networks from different starts, whose outputs are averaged.

Each member is an estimator of its own with a seed of its own, and has the bits that it would have
alone. Members are trained side by side, on all rows or on different ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import clone

from ..errors import counted
from ..network import Network
from .pausing import Pause, Wish, pause_at, pause_of
from .side_by_side import delayed, in_threads

ROWS = ("all", "bootstrap", "folds")
# What an ensemble says about its members, which are alike in it.
_SHARED = ("n_layers_", "out_activation_")


class Rows(NamedTuple):
    """The rows of one member; None for `train` means all of them."""

    train: np.ndarray | None = None
    left_out: np.ndarray | None = None


def rows_of_members(
    kind: str, groups: np.ndarray, n_members: int, random: np.random.RandomState
) -> Iterator[Rows]:
    """Draw the rows of each member.

    Every group is drawn from, or divided, by itself, so that each member sees all classes. In folds
    a group of a single row stays with all members.

    Parameters
    ----------
    kind : {"all", "bootstrap", "folds"}
    groups : ndarray of shape (n,)
        The class of each row, or zeros.
    n_members : int
    random : RandomState
    """
    places = [np.flatnonzero(groups == value) for value in np.unique(groups)]
    if kind == "all":
        yield from itertools.repeat(Rows(), n_members)
    elif kind == "bootstrap":
        for _ in range(n_members):
            drawn = [random.choice(rows, rows.size) for rows in places]
            yield Rows(np.sort(np.concatenate(drawn)))
    else:
        fold, first = np.full(groups.size, -1), 0
        for rows in places:
            if rows.size > 1:
                fold[random.permutation(rows)] = (first + np.arange(rows.size)) % n_members
                first += rows.size
        for number in range(n_members):
            yield Rows(np.flatnonzero(fold != number), np.flatnonzero(fold == number))


class EnsembleMixin:
    """What estimators with several members do in another way."""

    n_members: int
    warm_start: bool
    members_: list[Any]
    _OF_ONE: ClassVar[tuple[str, ...]] = (
        "coefs_", "intercepts_", "loss_curve_", "validation_scores_", "best_loss_", "averaging_",
        "best_validation_score_", "history_", "t_", "_progress", "_held", "_made_with",
    )  # fmt: skip

    @property
    def _has_members(self) -> bool:
        """Whether an ensemble was fitted."""
        return "members_" in vars(self)

    @property
    def _members(self) -> list[Any]:
        """The members, or the estimator itself."""
        return self.members_ if self._has_members else [self]

    @property
    def _networks(self) -> list[Network]:
        """The network of each member, or the only one."""
        return [one.network_ for one in self._members]

    def _new_members(self, random: np.random.RandomState) -> list[Any]:
        """Members that are not fitted; a warm start goes on with those that are."""
        kept = vars(self).get("members_", []) if self.warm_start else []
        seeds = random.randint(2**31 - 1, size=self.n_members).tolist()
        given = {**self.get_params(deep=False), "n_members": 1, "member_rows": "all"}  # type: ignore[attr-defined]
        if len(kept) != self.n_members:
            kept = [clone(self) for _ in seeds]
        for member, seed in zip(kept, seeds, strict=True):
            own = {**given, "random_state": seed, "n_threads": 1}
            member.set_params(**{name: clone(value, safe=False) for name, value in own.items()})
        return kept

    def _train_members(
        self, members: list[Any], train: Callable[[Any, int], Any], max_iter: int
    ) -> None:
        """Run `train` for each member and its number, side by side, and take what comes of it."""
        wish, outer = Wish(), pause_of(self)
        pauses = [Pause(max_iter) for _ in members]
        if outer is not None:
            outer.members, wish = outer.members or pauses, outer.wish
            pauses = outer.members
        for pause in pauses:
            pause.until, pause.wish = (outer or pause).until, wish
        calls = [
            delayed(_trained)(member, train, number, pause)
            for number, (member, pause) in enumerate(zip(members, pauses, strict=True))
        ]
        try:
            found = in_threads(self.n_threads)(calls)  # type: ignore[attr-defined]
        except BaseException:  # Ctrl-C, which only the main thread sees
            wish.to_end = True
            raise
        pauses[:] = [pause for _, pause in found]
        self._become([member for member, _ in found])

    def _become(self, members: list[Any]) -> None:
        """Hold fitted members instead of one network."""
        known = vars(self)
        for name in self._OF_ONE:
            known.pop(name, None)
        for name in _SHARED:
            known[name] = getattr(members[0], name)
        known["members_"] = members
        known["n_iter_"] = max(member.n_iter_ for member in members)
        known["loss_"] = float(np.mean([member.loss_ for member in members]))

    def _refuse_network(self) -> None:
        """An AttributeError where an ensemble is asked for its only network."""
        if self._has_members:
            raise AttributeError(
                f"{type(self).__name__} with {counted(len(self.members_), 'member')} has a network "
                "in each of members_"
            )


def _trained(
    member: Any, train: Callable[[Any, int], Any], number: int, pause: Pause
) -> tuple[Any, Pause]:
    """Train a member until it pauses."""
    pause_at(member, pause)
    try:
        train(member, number)
    finally:
        pause_at(member, None)
    return member, pause
