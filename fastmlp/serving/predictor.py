"""Serving: an immutable copy of a network that predicts single rows in about a microsecond.

Threads take workspaces from a list and return them, so any number of threads may call one
predictor, and a call with `out` allocates nothing.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..engine import engine
from ..engine.batch_outputs import BatchOutputs
from ..engine.compiling import announce
from ..engine.lowering import can_compile
from ..engine.packed import PackedWeights, packed_for_one_row, weights_of_ops
from ..errors import InputError, counted
from ..inputs import checks, columns
from ..inputs.tables import table_of
from ..inputs.targets import TargetCoder
from ..kernels.compiler.jit import REFUSALS, exactly, holding_gil
from ..kernels.products import one_row
from ..kernels.step.outputs import outputs_of_row
from ..model.body import Body
from . import evaluation

# Rows of other types are converted before the call up to this many numbers, otherwise by kernels,
# a block at a time.
CONVERTED_NUMBERS = 1_000_000


class Predictor:
    """Outputs after the link (probabilities, or predicted numbers) of one row or many.

    Made by `Network.compile_predictor`; later changes of the network do not affect it. It holds the
    weights as they are, for single rows in another order, and from the first batch on in a third.
    Inputs are not searched for nan; it gives nan. `predict` returns labels.

    Parameters
    ----------
    network : Network
        Built, with built-in layers and a built-in loss.
    coder : TargetCoder, optional
        How `predict` reads outputs; by default as in the network.
    weights : {"float16", "bfloat16"}, optional
        As what the weights of dense layers are stored for single rows. They are rounded, relative
        to themselves, by at most 2**-11 or 2**-8 (and numbers below 6e-5 by 3e-8 in float16), and
        computed with in the network's type. A wide network, whose single rows take as long as its
        weights take to read, answers sooner. By default they stay as they are.

    Raises
    ------
    InputError
        For a network that is not built or has parts without a kernel, and for weights that float16
        cannot hold.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense, Network, ReLU
    >>> predictor = Network([Dense(4, 8), ReLU(), Dense(8, 3)]).compile_predictor()
    >>> row = np.ones(4, np.float32)
    >>> predictor(row).shape, predictor(np.ones((5, 4))).shape
    ((3,), (5, 3))
    >>> predictor
    Predictor(4 inputs, 3 outputs, float32)
    """

    __slots__ = (
        "_batch", "_coder", "_dtype", "_kernel", "_kernel_of_matrix", "_n_features", "_n_outputs",
        "_network", "_packed", "_shapes", "_spare", "_weights",
    )  # fmt: skip

    def __init__(
        self, network: Body, coder: TargetCoder | None = None, weights: str | None = None
    ) -> None:
        if not network.is_built or not can_compile(network.layers, network.loss):
            got = "parts of your own" if network.is_built else "a network not built yet"
            raise InputError(
                "compile_predictor", "a built network of built-in parts", got,
                "use predict_proba" if network.is_built else "call fit first",
            )  # fmt: skip
        names = [name for name in one_row.STORED if name]
        if weights is not None and weights not in names:
            raise InputError(
                "compile_predictor", f"weights=None or one of {', '.join(names)}", repr(weights),
                "choose one of them",
            )  # fmt: skip
        self._network, self._weights = copy.deepcopy(network), weights
        stored = one_row.STORED[weights or ""]
        if stored is not one_row.OWN:
            self._round_weights(stored)
        # In the order in which single rows read them.
        self._packed: PackedWeights | None = packed_for_one_row(self._network, stored)
        self._coder = copy.deepcopy(coder) or self._network.coder
        if self._coder is not None and self._coder.classes is not None:
            self._coder.classes.flags.writeable = False
        # NumPy has one object for each built-in type, so they can be compared by `is`.
        self._dtype = np.dtype(network.dtype.name)
        self._n_features, self._n_outputs = network.n_features, network.n_outputs
        # Of the outputs of a row, and of a matrix of one row.
        n = network.n_outputs
        self._shapes: tuple[tuple[int, ...], tuple[int, ...]] = (n,), (1, n)
        self._spare: list[tuple[int, engine.Engine]] = [self._new_space()]
        self._batch: BatchOutputs | None = None  # made when it is needed

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, also in another process, needs new workspaces, because they hold addresses."""
        return Predictor, (self._network, self._coder, self._weights)

    def __repr__(self) -> str:
        sizes = [counted(self._n_features, "input"), counted(self._n_outputs, "output")]
        classes = [] if self.classes_ is None else [f"{len(self.classes_)} classes"]
        stored = [] if self._weights is None else [f"weights in {self._weights}"]
        return f"Predictor({', '.join([*sizes, self._dtype.name, *classes, *stored])})"

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the outputs (of one output: no and yes), or None; read-only."""
        return None if self._coder is None else self._coder.classes

    def __call__(self, X: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Outputs of one row or many.

        Parameters
        ----------
        X : array of shape (n_features,) or (n, n_features), data frame or mapping
            Fastest as a contiguous array of the network's dtype. If the network has
            `feature_names`, columns of a data frame, a row of a pandas frame and a mapping from
            names to numbers are put in order by name.
        out : ndarray of shape (n_outputs,) or (n, n_outputs), optional
            Array for the outputs, of the network's dtype; for one row it must be contiguous.

        Returns
        -------
        ndarray of shape (n_outputs,) or (n, n_outputs)
            In the network's dtype; `out` if it is given.

        Raises
        ------
        InputError
            For X of another width or not of numbers, for missing or unknown names, and for an `out`
            that does not fit.
        """
        if getattr(X, "dtype", None) is not self._dtype:  # the kernel would refuse it, but slower
            return self._otherwise(X, out)
        kernel, shape = self._kernel, self._shapes[0]
        if X.ndim == 2 and type(X) is np.ndarray:
            if len(X) != 1 or out is not None:
                return self._of_matrix(X, out)
            kernel, shape = self._kernel_of_matrix, self._shapes[1]
        result = np.empty(shape, self._dtype) if out is None else out
        try:
            space = self._spare.pop()
        except IndexError:
            space = self._new_space()
        try:
            done = kernel(space[0], X, result)
        except REFUSALS:
            done = False
        self._spare.append(space)
        return result if done else self._otherwise(X, out)

    def _of_matrix(self, X: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        """Outputs of a matrix of the network's type."""
        result = np.empty((len(X), self._n_outputs), self._dtype) if out is None else out
        # A block is read whole before its outputs are written, but the next one is not.
        safe = out is None or len(X) == 1 or not np.may_share_memory(X, out)
        return result if safe and self._many(X, result) else self._otherwise(X, out)

    def predict(self, X: Any) -> Any:
        """Labels, or numbers for a regression loss, of one row or many.

        Parameters
        ----------
        X : array of shape (n_features,) or (n, n_features)
            As for a call.

        Returns
        -------
        label, number or ndarray of shape (n,) or (n, n_targets)
            As from `predict` of the network or the estimator; for one row its only entry.

        Raises
        ------
        InputError
            For X of another width or not of numbers, for rows whose outputs are nan, and if the
            network has seen no targets.

        Examples
        --------
        >>> from fastmlp import Dense, Network
        >>> net = Network([Dense(2)])
        >>> history = net.fit([[-1.0], [1.0]], ["cold", "warm"], optimizer="sgd", epochs=300)
        >>> predictor = net.compile_predictor()
        >>> str(predictor.predict([0.8])), predictor.predict([[-0.9], [0.8]]).tolist()
        ('warm', ['cold', 'warm'])
        """
        if self._coder is None:
            raise InputError(
                "predictor", "a fitted network to predict labels with",
                "one that had seen no targets", "call fit before compile_predictor",
            )  # fmt: skip
        return decoded(self._coder, self(X))

    def _many(self, X: np.ndarray, out: np.ndarray) -> bool:
        """Write the outputs of rows; False if that needs another way, and then nothing is done."""
        if self._batch is None:
            self._batch = BatchOutputs(self._network, link=True, is_frozen=True)
        return self._batch(self._network, X, out)

    def _new_space(self) -> tuple[int, engine.Engine]:
        announce(self._dtype, holding_gil(outputs_of_row))
        row = np.zeros(self._n_features, self._dtype)
        table = table_of(row.reshape(1, -1), self._dtype)
        made = engine.Engine(self._network, table, 1, training=False, packed=self._packed)
        made.link()
        self._kernel = exactly(outputs_of_row, made.job_address, row, row)
        matrix = row.reshape(1, -1)
        self._kernel_of_matrix = exactly(outputs_of_row, made.job_address, matrix, matrix)
        return made.job_address, made

    def _round_weights(self, stored: one_row.Stored) -> None:
        """Round the copy's weights to what is stored, so that many rows get the same answers."""
        for W in weights_of_ops(self._network).values():
            rounded = stored.rounded(W)
            if not np.isfinite(rounded).all() and np.isfinite(W).all():
                holds_more = stored is not one_row.BFLOAT16
                raise InputError(
                    "compile_predictor", f"weights that {stored.name} can hold", "larger ones",
                    'use weights="bfloat16"' if holds_more else "leave weights out",
                )  # fmt: skip
            W[...] = rounded

    def _otherwise(self, X: Any, out: np.ndarray | None) -> np.ndarray:
        """Outputs if X or `out` is not a contiguous row of the network's type."""
        X = self._tidy(X)
        if X.ndim == 2:
            return self._rows(X, out)
        if out is None:
            return self(X)
        self._check_out(out, (self._n_outputs,))
        if type(out) is np.ndarray:
            return self(X, out)
        out[...] = self(X)
        return out

    def _tidy(self, X: Any) -> np.ndarray:
        """X as a writeable contiguous row, or a matrix of numbers."""
        X = columns.by_name("predictor", X, self._network.feature_names)
        values = checks.numeric("predictor", "X", checks.array("predictor", "X", X))
        if values.ndim not in (1, 2) or values.shape[-1] != self._n_features:
            raise InputError(
                "predictor", f"X of shape ({self._n_features},) or (n, {self._n_features})",
                f"shape {values.shape}", "pass the columns the network was built for",
            )  # fmt: skip
        return values if values.ndim == 2 else self._converted(values)

    def _converted(self, values: np.ndarray) -> np.ndarray:
        """A copy as the kernel needs it: contiguous, writeable, of the network's type."""
        tidy = np.empty(values.shape, self._dtype)
        with np.errstate(over="ignore"):  # as in kernels that convert rows themselves
            tidy[...] = values
        return tidy

    def _rows(self, X: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        shape = X.shape[0], self._n_outputs
        if out is not None:
            self._check_out(out, shape)
        found = np.empty(shape, self._dtype)
        is_small = X.size <= CONVERTED_NUMBERS
        if not (is_small and self._many(self._converted(X), found)):
            found = evaluation.outputs(self._network, X, link=True)
        if out is None:
            return found
        out[...] = found
        return out

    def _check_out(self, out: Any, shape: tuple[int, ...]) -> None:
        is_row = len(shape) == 1
        if (
            isinstance(out, np.ndarray)
            and out.dtype == self._dtype
            and out.shape == shape
            and (out.flags.carray if is_row else out.flags.writeable)
        ):
            return
        got = type(out).__name__
        if isinstance(out, np.ndarray):
            spoilt = "" if out.flags.carray else ", strided or read-only"
            got = f"shape {out.shape} and type {out.dtype.name}{spoilt}"
        raise InputError(
            "predictor", f"out contiguous, of shape {shape} and type {self._dtype.name}", got,
            "allocate it with np.empty",
        )  # fmt: skip


def decoded(coder: TargetCoder, outputs: np.ndarray) -> Any:
    """Labels or numbers from the outputs of one row or many; nan is refused."""
    is_row = outputs.ndim == 1
    found = coder.decode(checks.answers("predictor", outputs.reshape(1, -1) if is_row else outputs))
    return found[0] if is_row else found
