"""Estimators for Dask collections: tables that lie in partitions on many machines.

They need the packages dask and distributed (``pip install 'fastmlp[dask]'``).
"""

from ..estimators.on_dask import DaskMLPClassifier, DaskMLPRegressor

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor"]
