"""`DaskMLPClassifier` and `DaskMLPRegressor`: local SGD in lanes, whose weights are averaged.

`partitions` reads collections, `rounds` trains, `answers` predicts.
"""

from .classifier import DaskMLPClassifier
from .regressor import DaskMLPRegressor

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor"]
