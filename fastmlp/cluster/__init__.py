"""Workers in other processes and on other machines, which train networks for the caller.

`active` finds those that joblib is configured for; `on_dask` and `on_ray` are the two kinds.
"""
