"""The workers that `joblib.parallel_config` has chosen, if they are Dask's or Ray's.

joblib's own backends, which are processes and threads of this machine, are left to joblib.
"""

from __future__ import annotations

import sys

from .on_dask import OnDask
from .on_ray import OnRay
from .workers import Workers


def active_workers(where: str) -> Workers | None:
    """Workers of the active backend of joblib; None for one of this machine.

    Parameters
    ----------
    where : str
        For errors.

    Returns
    -------
    Workers or None
    """
    if "joblib" not in sys.modules:  # so nobody has configured it; importing it takes time
        return None
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend(prefer="threads")
    kinds = {kind.__name__ for kind in type(backend).__mro__}
    if "DaskDistributedBackend" in kinds:
        backend.effective_n_jobs(-1)  # waits for the first worker, as long as it was told to
        return OnDask(where, backend.client)
    if "RayBackend" in kinds:
        return OnRay(where, backend.ray_remote_args)
    return None
