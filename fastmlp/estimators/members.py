"""Ensembles: several networks from different starts, whose outputs are averaged.

Each member is an estimator of its own with a seed of its own, and has the bits that it would have
alone. Members are trained side by side, on all rows or on different ones.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..errors import InputError, counted
from ..network import Network
from .pausing import Pause, Wish, pause_at, pause_of
from .side_by_side import side_by_side

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
            train = np.sort(np.concatenate(drawn))
            left_out = np.setdiff1d(np.arange(groups.size), train)
            yield Rows(train, left_out if left_out.size else None)
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

    n_members: int = 1  # which models from older files do not have
    member_rows: str = "all"
    warm_start: bool
    members_: list[Any]
    _OF_ONE: ClassVar[tuple[str, ...]] = (
        "coefs_", "intercepts_", "loss_curve_", "validation_scores_", "best_loss_", "averaging_",
        "best_validation_score_", "history_", "t_", "_progress", "_held", "_made_with", "_last_run",
        "_rows",
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
        seeds = random.randint(2**31 - 1, size=self.n_members).tolist()
        if self.warm_start and len(vars(self).get("members_", ())) == self.n_members:
            return [
                member.set_params(random_state=seed)
                for member, seed in zip(self._members_to_train(), seeds, strict=True)
            ]
        given = self._parameters_of_members()
        return [type(self)(**given, random_state=seed) for seed in seeds]  # type: ignore[call-arg]

    def _parameters_of_members(self) -> dict[str, Any]:
        """The parameters that all members have, which share objects such as callbacks."""
        given = {**self.get_params(deep=False), "n_members": 1, "member_rows": "all"}  # type: ignore[attr-defined]
        del given["random_state"]
        return {**given, "n_threads": 1}

    def _members_to_train(self) -> list[Any]:
        """The fitted members with the current parameters, or copies if others hold them, too."""
        members = self.members_
        if not vars(self).get("_owns_memory"):
            members = list(map(copy.copy, members))
        given = self._parameters_of_members()
        return [member.set_params(**given) for member in members]

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
        jobs = [
            (member, number, pause)
            for number, (member, pause) in enumerate(zip(members, pauses, strict=True))
        ]
        where, n_threads = f"{type(self).__name__}.fit", self.n_threads  # type: ignore[attr-defined]
        try:
            found = list(side_by_side(where, n_threads, _trained, train, jobs))
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
        known["members_"], known["_owns_memory"] = members, True
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
    train: Callable[[Any, int], Any], member: Any, number: int, pause: Pause
) -> tuple[Any, Pause]:
    """Train a member until it pauses."""
    pause_at(member, pause)
    try:
        train(member, number)
    finally:
        pause_at(member, None)
    return member, pause


def check_ensemble(estimator: Any, n_rows: int | None = None) -> None:
    """Refuse what an ensemble would ignore, and more folds than there are rows.

    n_rows: of which each member leaves out some; None if none does.
    """
    where, known = f"{type(estimator).__name__}.fit", vars(estimator)
    n_members = estimator.n_members
    if "_skl_callbacks" in known:
        raise InputError(
            where, "callbacks as a parameter with several members", "some by set_callbacks",
            "pass functions as callbacks",
        )  # fmt: skip
    if n_rows is not None and n_rows < n_members:
        raise InputError(
            where, f"at least {counted(n_members, 'sample')}, one for each fold",
            counted(n_rows, "sample"), "pass fewer n_members",
        )  # fmt: skip


def check_number_kept(estimator: Any) -> None:
    """Refuse another number of members than were fitted, where these go on."""
    n_members, found = estimator.n_members, len(estimator.members_)
    if found != n_members:
        raise InputError(
            f"{type(estimator).__name__}.partial_fit", f"n_members={found}, as were fitted",
            f"{n_members}", "start anew with a clone",
        )  # fmt: skip
