"""Estimators for tables of mixed columns, from raw rows to answers.

`base` has their fits, `training` the networks, `metrics` what the best epoch is chosen by.
"""

from .classifier import TabularClassifier as TabularClassifier
from .regressor import TabularRegressor as TabularRegressor
