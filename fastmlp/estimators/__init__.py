"""scikit-learn estimators: its MLPClassifier and MLPRegressor, trained by the compiled engine.

Parameters, attributes and numbers are scikit-learn's, with additional features.
"""

from .classifier import MLPClassifier
from .displays import LossCurveDisplay, WeightsDisplay
from .regressor import MLPRegressor

__all__ = [
    "LossCurveDisplay",
    "MLPClassifier",
    "MLPRegressor",
    "WeightsDisplay",
]
