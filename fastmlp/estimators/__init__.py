"""scikit-learn estimators: the parameters, attributes and numbers of its MLPClassifier and
MLPRegressor, trained by the compiled engine, and what users of those ask for beyond.
"""

from .classifier import MLPClassifier
from .displays import LossCurveDisplay, WeightsDisplay
from .regressor import MLPRegressor
from .search import search_space

__all__ = [
    "LossCurveDisplay",
    "MLPClassifier",
    "MLPRegressor",
    "WeightsDisplay",
    "search_space",
]
