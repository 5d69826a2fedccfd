"""Multi-layer perceptrons on a CPU, with fast training and serving, in pure Python.

Names are imported when first used, so `import fastmlp` itself takes almost no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

_MODULES = {
    "network": ["Network"],
    "nn": [
        "Layer", "Dense", "ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Softplus",
        "Sigmoid", "Tanh", "Identity", "Rescaling", "Dropout", "Activation", "PReLU", "Scale",
        "LayerNorm", "BatchNorm", "Embedding", "Residual", "Columns", "Cosine", "GroupedDense",
        "ParametricActivation", "PiecewiseLinear", "Members", "SharedDense",
    ],
    "nn.losses": [
        "Loss", "SoftmaxCrossEntropy", "BinaryCrossEntropy", "MeanSquaredError",
        "MeanAbsoluteError", "Huber", "Quantile", "PoissonDeviance", "MeanOfMembers",
        "CompiledLoss",
    ],
    "optim.optimizers": ["SGD", "RMSprop", "Adagrad", "Adam", "AdamW", "Factor", "Optimizer"],
    "extending.compiled": [
        "compiled_activation", "compiled_loss", "compiled_link", "compiled_optimizer",
    ],
    "tools.gradient_check": ["check_part"],
    "training.stepper": ["Stepper"],
    "distributed.ranks": ["Ranks"],
    "training.batches": ["BatchTrainer"],
    "training.many": ["fit_many"],
    "serving.predictor": ["Predictor"],
    "serving.ensemble": ["EnsemblePredictor"],
    "tracing.trace": ["Trace"],
    "training.history": ["History"],
    "training.checkpoint": ["Checkpoint"],
    "training.early_stopping": ["EarlyStopping"],
    "optim.averaging": ["EMA", "SWA", "Averaging"],
    "training.rate_range": ["find_learning_rate", "RateRange"],
    "estimators": [
        "MLPClassifier", "MLPRegressor", "LossCurveDisplay", "WeightsDisplay",
    ],
    "estimators.tabular": ["TabularClassifier", "TabularRegressor"],
    "estimators.search": ["SearchCV", "SearchDisplay", "search_space"],
    "io.interchange": ["to_torch", "from_torch", "from_sklearn"],
    "io.onnx_export": ["to_onnx"],
    "errors": ["InputError"],
}  # fmt: skip
_ORIGIN = {name: module for module, names in _MODULES.items() for name in names}
_SUBMODULES = {
    "dask": "dask", "datasets": "datasets", "initializers": "nn.initializers",
    "plotting": "plotting", "reference": "reference", "schedules": "optim.schedules",
}  # fmt: skip

__all__ = [*_ORIGIN, *_SUBMODULES, "__version__"]

if TYPE_CHECKING:
    from . import dask as dask
    from . import datasets as datasets
    from . import plotting as plotting
    from . import reference as reference
    from .distributed.ranks import Ranks as Ranks
    from .errors import InputError as InputError
    from .estimators import LossCurveDisplay as LossCurveDisplay
    from .estimators import MLPClassifier as MLPClassifier
    from .estimators import MLPRegressor as MLPRegressor
    from .estimators import WeightsDisplay as WeightsDisplay
    from .estimators.search import SearchCV as SearchCV
    from .estimators.search import SearchDisplay as SearchDisplay
    from .estimators.search import search_space as search_space
    from .estimators.tabular import TabularClassifier as TabularClassifier
    from .estimators.tabular import TabularRegressor as TabularRegressor
    from .extending.compiled import compiled_activation as compiled_activation
    from .extending.compiled import compiled_link as compiled_link
    from .extending.compiled import compiled_loss as compiled_loss
    from .extending.compiled import compiled_optimizer as compiled_optimizer
    from .io.interchange import from_sklearn as from_sklearn
    from .io.interchange import from_torch as from_torch
    from .io.interchange import to_torch as to_torch
    from .network import Network as Network
    from .nn import ELU as ELU
    from .nn import GELU as GELU
    from .nn import SELU as SELU
    from .nn import Activation as Activation
    from .nn import BatchNorm as BatchNorm
    from .nn import Columns as Columns
    from .nn import Cosine as Cosine
    from .nn import Dense as Dense
    from .nn import Dropout as Dropout
    from .nn import Embedding as Embedding
    from .nn import GroupedDense as GroupedDense
    from .nn import Identity as Identity
    from .nn import Layer as Layer
    from .nn import LayerNorm as LayerNorm
    from .nn import LeakyReLU as LeakyReLU
    from .nn import Members as Members
    from .nn import Mish as Mish
    from .nn import ParametricActivation as ParametricActivation
    from .nn import PiecewiseLinear as PiecewiseLinear
    from .nn import PReLU as PReLU
    from .nn import ReLU as ReLU
    from .nn import Rescaling as Rescaling
    from .nn import Residual as Residual
    from .nn import Scale as Scale
    from .nn import SharedDense as SharedDense
    from .nn import Sigmoid as Sigmoid
    from .nn import SiLU as SiLU
    from .nn import Softplus as Softplus
    from .nn import Tanh as Tanh
    from .nn import initializers as initializers
    from .nn.losses import BinaryCrossEntropy as BinaryCrossEntropy
    from .nn.losses import CompiledLoss as CompiledLoss
    from .nn.losses import Huber as Huber
    from .nn.losses import Loss as Loss
    from .nn.losses import MeanAbsoluteError as MeanAbsoluteError
    from .nn.losses import MeanOfMembers as MeanOfMembers
    from .nn.losses import MeanSquaredError as MeanSquaredError
    from .nn.losses import PoissonDeviance as PoissonDeviance
    from .nn.losses import Quantile as Quantile
    from .nn.losses import SoftmaxCrossEntropy as SoftmaxCrossEntropy
    from .optim import schedules as schedules
    from .optim.averaging import EMA as EMA
    from .optim.averaging import SWA as SWA
    from .optim.averaging import Averaging as Averaging
    from .optim.optimizers import SGD as SGD
    from .optim.optimizers import Adagrad as Adagrad
    from .optim.optimizers import Adam as Adam
    from .optim.optimizers import AdamW as AdamW
    from .optim.optimizers import Factor as Factor
    from .optim.optimizers import Optimizer as Optimizer
    from .optim.optimizers import RMSprop as RMSprop
    from .serving.ensemble import EnsemblePredictor as EnsemblePredictor
    from .serving.predictor import Predictor as Predictor
    from .tools.gradient_check import check_part as check_part
    from .tracing.trace import Trace as Trace
    from .training.batches import BatchTrainer as BatchTrainer
    from .training.checkpoint import Checkpoint as Checkpoint
    from .training.early_stopping import EarlyStopping as EarlyStopping
    from .training.history import History as History
    from .training.many import fit_many as fit_many
    from .training.rate_range import RateRange as RateRange
    from .training.rate_range import find_learning_rate as find_learning_rate
    from .training.stepper import Stepper as Stepper


def __getattr__(name: str) -> Any:
    if name in _ORIGIN:
        return getattr(importlib.import_module(f".{_ORIGIN[name]}", __name__), name)
    if name in _SUBMODULES:
        return importlib.import_module(f".{_SUBMODULES[name]}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
