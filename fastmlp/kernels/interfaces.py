"""The signature of each kind of kernel: the extension points of the compiled step.

Integers are addresses, counts and indices; `turn` is a `plan.Turn`. The last argument of every
kernel, `one`, is a number of the network's type, from which the kernel gets that type.
"""

from __future__ import annotations

from .compiler.calls import ONE, Interface
from .plan import TURN_TYPE
from .views import (
    Factors,
    Inputs,
    Matrix,
    Memory,
    Panel,
    Panels,
    Rows,
    Run,
    Setting,
    Span,
    Sums,
    Targets,
)

_INPUTS, _MATRIX, _RUN = Inputs(0, 0, 0), Matrix(0, 0), Run(0, 0, 0, 0)
_TARGETS, _FACTORS = Targets(0, 0, 0, 0, 0.0), Factors(0.0, 0.0)

# forward, scale, backward, gradient(turn, s, one): an op's number is s.
OP = Interface(TURN_TYPE, 0, ONE)
# product(inputs, span, panel, sums, base, out, part_bytes, one), see `matmul.product_of_panel`.
PRODUCT = Interface(_INPUTS, Span(0, 0, 0), Panel(0, 0, 0), Sums(0, 0, 0, 0), 0, _MATRIX, 0, ONE)
# gradient(inputs, batch, slopes, n_in, n_out, out, one), see `matmul.weight_gradient`.
WEIGHT_GRADIENT = Interface(_INPUTS, 0, Panels(0, 0, 0), 0, 0, _MATRIX, ONE)
# activate(values, slopes, size, option, one): z[i] <- f(z[i]) and slope[i] <- f'(z[i]).
ACTIVATION = Interface(0, 0, 0, 0.0, ONE)
# drop(values, size, s, first, turn, one): `size` values of op s, beginning with number `first`.
DROP = Interface(0, 0, 0, 0, TURN_TYPE, ONE)
# rows(setting, outputs, n_out, rows, targets, gradient, row_losses, one), see `losses`.
LOSS = Interface(Setting(0.0, 0, 0), 0, 0, Rows(0, 0, 0), _TARGETS, 0, 0, ONE)
# weigh(n_out, rows, targets, total, gradient, row_losses, one), see `losses.weigh_rows`.
WEIGH = Interface(0, Rows(0, 0, 0), _TARGETS, 0.0, 0, 0, ONE)
# link(outputs, n_out, n_rows, sums, one): linear outputs become what is predicted, in place.
LINK = Interface(0, 0, 0, 0, ONE)
# update(hyper, factors, run, memory, grads, grad_stride, one), see `optimizers`.
UPDATE = Interface(0, _FACTORS, _RUN, Memory(0, 0, 0), 0, 0, ONE)
# add_penalty(l1, l2, size, params, grads, one).
ADD_PENALTY = Interface(0.0, 0.0, 0, 0, 0, ONE)
# gather(turn, first, last, left, right, one): convert a block of the batch into the inputs.
GATHER = Interface(TURN_TYPE, 0, 0, 0, 0, ONE)
# move(turn, comes, one): copy parameters to the thread's own memory (comes) or back.
MOVE = Interface(TURN_TYPE, False, ONE)
# grade(outputs, n_out, first, last, truth, weights, parts, one), see `scores`.
GRADE = Interface(0, 0, 0, 0, 0, 0, 0, ONE)
# score(parts, n_rows, n_parts, spread, divisor, found, one), see `scores`.
SCORE = Interface(0, 0, 0, 0, 0.0, 0, ONE)
# go_on(fit_at, one): some steps of a whole fit, see `fits`.
FIT = Interface(0, ONE)
# penalties, clip, limit, accumulate, average, judge, total, watch(turn, one).
TURN = Interface(TURN_TYPE, ONE)

# Which kind of kernel a field of a record holds the address of.
OF_FIELD = {
    **dict.fromkeys(("forward", "scale", "backward", "gradient"), OP),
    **dict.fromkeys(("product", "back_product"), PRODUCT),
    **dict.fromkeys(("weight_gradient", "narrow_gradient"), WEIGHT_GRADIENT),
    **dict.fromkeys(("penalties", "clip", "limit", "accumulate", "average"), TURN),
    **dict.fromkeys(("judge", "total", "watch"), TURN),
    "weigh": WEIGH,
    **dict.fromkeys(("activate", "inner"), ACTIVATION),
    "drop": DROP,
    "rows": LOSS,
    "link": LINK,
    "update": UPDATE,
    "add_penalty": ADD_PENALTY,
    "gather": GATHER,
    "move": MOVE,
    "grade": GRADE,
    "score": SCORE,
}
