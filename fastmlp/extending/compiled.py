"""User-defined compiled parts, made from one rule for single numbers.

A class that names such a kernel runs in the compiled loop like the built-in ones: it derives from
`Activation`, `CompiledLoss` or `Optimizer`, and may be defined in a script or a notebook.
"""

from __future__ import annotations

import inspect
import keyword
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import InputError, InputTypeError
from ..inputs import checks
from ..kernels.compiler.calls import Kernel
from ..kernels.compiler.own_rule import Call, OwnRule, own_rule
from ..kernels.rules import activations, losses, optimizers

_STATES = ("first state", "second state", "third state")


def _rule(function: Any, call: Call, arguments: Sequence[str], *more: Any) -> OwnRule:
    """A rule that takes these arguments."""
    found = own_rule(function, call, *more)
    given = inspect.signature(found.function).parameters.values()
    kinds = {parameter.kind for parameter in given}
    if len(given) != len(arguments) or not kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}:
        raise InputTypeError(
            found.where, f"a rule of ({', '.join(arguments)})",
            f"one of ({', '.join(one.name for one in given)})", "give it these arguments",
        )  # fmt: skip
    return found


def compiled_activation(rule: Callable[..., Any]) -> Kernel:
    """The kernel of an activation that is a rule for single numbers.

    Parameters
    ----------
    rule : callable
        `rule(z, alpha)` returns f(z) and its slope f'(z), two floats; `alpha` is the layer's
        `option`. A plain function, or one decorated by `numba.njit`, whose options are ignored.
        Functions that it calls are compiled with it. To stay in float32, write ``type(z)(2)``
        rather than ``2``; otherwise a rule computes in float64, which is slower.

    Returns
    -------
    Kernel
        The `kernel` of an `Activation`. It is compiled at the first use in each dtype, and cached
        on disk if its code can be hashed; a changed rule is compiled again.

    Raises
    ------
    InputError
        If it is not a function of two numbers; when the kernel is first used, for a rule that
        cannot be compiled or returns anything but two floats.

    Examples
    --------
    >>> from fastmlp import Activation, Dense, Network, compiled_activation
    >>> def softsign(z, alpha):
    ...     shrunk = type(z)(1) / (type(z)(1) + abs(z))
    ...     return z * shrunk, shrunk * shrunk
    >>> class Softsign(Activation):
    ...     name = "softsign"
    ...     kernel = compiled_activation(softsign)
    >>> Softsign().forward([[1.0, -3.0]])
    array([[ 0.5 , -0.75]])
    >>> history = Network([Dense(4), Softsign(), Dense(2)]).fit([[0.0], [1.0]], [0, 1], epochs=2)
    """
    call = Call("compiled_activation", 2, None, ("value", "slope"))
    kernel = activations.own_activation(_rule(rule, call, ("z", "alpha")))
    kernel.made_by = (compiled_activation, (rule,))
    return kernel


def compiled_loss(rule: Callable[..., Any]) -> Kernel:
    """The kernel of a loss that is a mean over single outputs.

    Parameters
    ----------
    rule : callable
        `rule(z, t, option)` returns the loss of an output z with its target t, and its derivative
        with respect to z, two floats; `option` is the loss's. It may be plain, as for
        `compiled_activation`.

    Returns
    -------
    Kernel
        The `kernel` of a `CompiledLoss`.

    Raises
    ------
    InputError
        As for `compiled_activation`.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from fastmlp import CompiledLoss, compiled_loss
    >>> def expectile(z, t, option):
    ...     r, one = z - t, type(z)(1)
    ...     weight = one - option if r > 0 else option
    ...     return weight * r * r, weight * (r + r)
    >>> @dataclass(frozen=True)
    ... class Expectile(CompiledLoss):
    ...     name = "expectile"
    ...     kernel = compiled_loss(expectile)
    ...     level: float = 0.5
    >>> Expectile(0.25).value_and_gradient([[2.0]], [[0.0]], [1.0])
    (3.0, array([[3.]]))
    """
    call = Call("compiled_loss", 3, None, ("loss", "slope"))
    kernel = losses.own_loss(_rule(rule, call, ("z", "t", "option")))
    kernel.made_by = (compiled_loss, (rule,))
    return kernel


def compiled_link(rule: Callable[..., Any]) -> Kernel:
    """The kernel of a loss's link, which turns linear outputs into predictions.

    Parameters
    ----------
    rule : callable
        `rule(z)` returns the prediction for an output z, a float.

    Returns
    -------
    Kernel
        The `link_kernel` of a `CompiledLoss`.

    Raises
    ------
    InputError
        As for `compiled_activation`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import CompiledLoss, compiled_link, compiled_loss
    >>> def error_of_square(z, t, option):
    ...     r = z * z - t
    ...     return r * r, 4 * r * z
    >>> class Squared(CompiledLoss):
    ...     name = "squared"
    ...     kernel = compiled_loss(error_of_square)
    ...     link_kernel = compiled_link(lambda z: z * z)
    >>> Squared().link(np.array([[3.0, -2.0]]))
    array([[9., 4.]])
    """
    call = Call("compiled_link", 1, None, ("prediction",))
    kernel = losses.own_link(_rule(rule, call, ("z",)))
    kernel.made_by = (compiled_link, (rule,))
    return kernel


def compiled_optimizer(
    rule: Callable[..., Any], n_states: int = 0, numbers: Sequence[str] = ()
) -> optimizers.Optimizer:
    """The kernel of an optimizer that is a rule for single parameters.

    Parameters
    ----------
    rule : callable
        `rule(p, g, *states, rate, h)` returns the new value of a parameter p with the gradient g,
        followed by the new states, all of them floats. States begin at 0; `rate` is the step's
        learning rate times the group's factor, and `h` has the rule's numbers by name.
    n_states : {0, 1, 2, 3}, default 0
        How many numbers are kept for each parameter.
    numbers : sequence of str, default ()
        Names of the rule's numbers: by default the optimizer's fields of these names. If some
        change from step to step, or come from other fields, override `Optimizer.rule_numbers`.

    Returns
    -------
    Kernel
        The `kernel` of an `Optimizer`. Weight decay, clipping and factors of groups are added to
        every rule.

    Raises
    ------
    InputError
        As for `compiled_activation`; also for another number of states and invalid names.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from fastmlp import Dense, Network, Optimizer, compiled_optimizer
    >>> def heavy_ball(p, g, velocity, rate, h):
    ...     velocity = h.mu * velocity - rate * g
    ...     return p + velocity, velocity
    >>> @dataclass(frozen=True)
    ... class HeavyBall(Optimizer):
    ...     name = "heavy_ball"
    ...     kernel = compiled_optimizer(heavy_ball, n_states=1, numbers=("mu",))
    ...     mu: float = 0.9
    >>> net = Network([Dense(1, 1)], loss="mean_squared_error")
    >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], optimizer=HeavyBall(0.1), epochs=300)
    >>> net.predict([[3.0]]).round(1)
    array([7.], dtype=float32)
    """
    where, most = "compiled_optimizer", optimizers.MOST_STATES
    checks.whole_number(where, "n_states", n_states, 0, most)
    names = _names(where, numbers)
    states = tuple(f"state{number}" for number in range(n_states))
    kind = namedtuple("Numbers", names)  # type: ignore[misc]
    call = Call(where, 3 + n_states, kind, ("parameter", *_STATES[:n_states]))
    own = _rule(rule, call, ("p", "g", *states, "rate", "h"), names, n_states)
    kernel = optimizers.own_optimizer(own, n_states)
    kernel.made_by = (compiled_optimizer, (rule, n_states, names))
    return kernel


def _names(where: str, numbers: Any) -> tuple[str, ...]:
    """Names of a rule's numbers, each once."""
    if isinstance(numbers, str) or not isinstance(numbers, Sequence):
        raise InputTypeError(
            where, "numbers as a sequence of names", type(numbers).__name__, 'write ("mu",)'
        )
    for name in numbers:
        fine = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
        if not fine or name.startswith("_") or list(numbers).count(name) > 1:
            raise InputError(
                where, "numbers as names of fields, each once", repr(name), 'write ("mu",)'
            )
    return tuple(numbers)
