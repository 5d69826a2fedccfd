"""Training by L-BFGS: SciPy's minimiser on the network's flat parameters, with all samples.

Loss and gradient come from `objective`, in float64 for any type of network.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from ..engine.job import Convention
from ..inputs.targets import Samples
from ..training.objective import Objective
from .callbacks import Listeners

_STOPPED = 99  # SciPy's status if a callback has ended the search


def train(estimator: Any, convention: Convention, samples: Samples, listeners: Listeners) -> None:
    """Minimise the estimator's objective, starting from its network's parameters.

    Ctrl-C ends the search with the parameters of the last complete iteration.
    """
    e, network = estimator, estimator.network_
    objective = Objective(network, samples, convention, e.n_threads)
    reached, before = network.params.copy(), len(e.loss_curve_)

    def report(intermediate_result: Any) -> None:
        reached[...] = intermediate_result.x
        network.params[...] = reached  # the line search may have left others
        e.loss_curve_.append(float(intermediate_result.fun))
        e.history_.setdefault("loss", []).append(e.loss_curve_[-1])
        if e.verbose:
            print(f"Iteration {len(e.loss_curve_)}, loss = {intermediate_result.fun:.8f}")
        if listeners.epoch_ends():
            raise StopIteration
        listeners.epoch_begins()

    listeners.epoch_begins()
    try:
        found = scipy.optimize.minimize(
            objective,
            network.params.astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            callback=report,
            options={
                "maxfun": e.max_fun,
                "maxiter": e.max_iter,
                "gtol": e.tol,
                # SciPy's default, unless it would end the search before a small `tol` does.
                "ftol": min(1e7 * np.finfo(np.float64).eps, 1e-4 * e.tol),
            },
        )
    except KeyboardInterrupt:
        network.params[...], e.n_iter_ = reached, len(e.loss_curve_) - before
        if e.n_iter_ == 0:
            raise
        e.loss_ = e.loss_curve_[-1]
        warnings.warn("Training interrupted by user.", stacklevel=4)
        return
    network.params[...] = found.x
    e.n_iter_, e.loss_ = min(int(found.nit), e.max_iter), float(found.fun)
    e.t_ += e.n_iter_ * samples.X.shape[0]
    if found.status not in (0, _STOPPED):
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}):\n"
            f"{found.message}\n\nIncrease the number of iterations (max_iter) or scale the data.",
            ConvergenceWarning,
            stacklevel=4,
        )
