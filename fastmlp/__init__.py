"""Multi-layer perceptrons on a CPU: trained and served fast, from pure Python.

Names are imported when first used, so `import fastmlp` itself costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

_MODULES = {
    "network": ["Network"],
    "layers": [
        "Layer", "Dense", "ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Softplus",
        "Sigmoid", "Tanh", "Identity", "Rescaling", "Dropout", "Activation", "PReLU", "Scale",
        "LayerNorm", "BatchNorm", "Embedding", "Residual", "Columns",
    ],
    "losses": [
        "Loss", "SoftmaxCrossEntropy", "BinaryCrossEntropy", "MeanSquaredError",
        "MeanAbsoluteError", "Huber", "Quantile", "PoissonDeviance", "CompiledLoss",
    ],
    "optimizers": ["SGD", "RMSprop", "Adagrad", "Adam", "AdamW", "Factor", "Optimizer"],
    "compiled": [
        "compiled_activation", "compiled_loss", "compiled_link", "compiled_optimizer",
    ],
    "gradient_check": ["check_part"],
    "stepper": ["Stepper"],
    "predictor": ["Predictor"],
    "trace": ["Trace"],
    "history": ["History"],
    "checkpoint": ["Checkpoint"],
    "early_stopping": ["EarlyStopping"],
    "averaging": ["EMA", "SWA", "Averaging"],
    "rate_range": ["find_learning_rate", "RateRange"],
    "estimators": [
        "MLPClassifier", "MLPRegressor", "LossCurveDisplay", "WeightsDisplay", "search_space",
    ],
    "interchange": ["to_torch", "from_torch", "from_sklearn"],
    "onnx_export": ["to_onnx"],
    "errors": ["InputError"],
}  # fmt: skip
_ORIGIN = {name: module for module, names in _MODULES.items() for name in names}
_SUBMODULES = ["datasets", "initializers", "plotting", "reference", "schedules"]

__all__ = [*_ORIGIN, *_SUBMODULES, "__version__"]

if TYPE_CHECKING:
    from . import datasets as datasets
    from . import initializers as initializers
    from . import plotting as plotting
    from . import reference as reference
    from . import schedules as schedules
    from .averaging import EMA as EMA
    from .averaging import SWA as SWA
    from .averaging import Averaging as Averaging
    from .checkpoint import Checkpoint as Checkpoint
    from .compiled import compiled_activation as compiled_activation
    from .compiled import compiled_link as compiled_link
    from .compiled import compiled_loss as compiled_loss
    from .compiled import compiled_optimizer as compiled_optimizer
    from .early_stopping import EarlyStopping as EarlyStopping
    from .errors import InputError as InputError
    from .estimators import LossCurveDisplay as LossCurveDisplay
    from .estimators import MLPClassifier as MLPClassifier
    from .estimators import MLPRegressor as MLPRegressor
    from .estimators import WeightsDisplay as WeightsDisplay
    from .estimators import search_space as search_space
    from .gradient_check import check_part as check_part
    from .history import History as History
    from .interchange import from_sklearn as from_sklearn
    from .interchange import from_torch as from_torch
    from .interchange import to_torch as to_torch
    from .layers import ELU as ELU
    from .layers import GELU as GELU
    from .layers import SELU as SELU
    from .layers import Activation as Activation
    from .layers import BatchNorm as BatchNorm
    from .layers import Columns as Columns
    from .layers import Dense as Dense
    from .layers import Dropout as Dropout
    from .layers import Embedding as Embedding
    from .layers import Identity as Identity
    from .layers import Layer as Layer
    from .layers import LayerNorm as LayerNorm
    from .layers import LeakyReLU as LeakyReLU
    from .layers import Mish as Mish
    from .layers import PReLU as PReLU
    from .layers import ReLU as ReLU
    from .layers import Rescaling as Rescaling
    from .layers import Residual as Residual
    from .layers import Scale as Scale
    from .layers import Sigmoid as Sigmoid
    from .layers import SiLU as SiLU
    from .layers import Softplus as Softplus
    from .layers import Tanh as Tanh
    from .losses import BinaryCrossEntropy as BinaryCrossEntropy
    from .losses import CompiledLoss as CompiledLoss
    from .losses import Huber as Huber
    from .losses import Loss as Loss
    from .losses import MeanAbsoluteError as MeanAbsoluteError
    from .losses import MeanSquaredError as MeanSquaredError
    from .losses import PoissonDeviance as PoissonDeviance
    from .losses import Quantile as Quantile
    from .losses import SoftmaxCrossEntropy as SoftmaxCrossEntropy
    from .network import Network as Network
    from .optimizers import SGD as SGD
    from .optimizers import Adagrad as Adagrad
    from .optimizers import Adam as Adam
    from .optimizers import AdamW as AdamW
    from .optimizers import Factor as Factor
    from .optimizers import Optimizer as Optimizer
    from .optimizers import RMSprop as RMSprop
    from .predictor import Predictor as Predictor
    from .rate_range import RateRange as RateRange
    from .rate_range import find_learning_rate as find_learning_rate
    from .stepper import Stepper as Stepper
    from .trace import Trace as Trace


def __getattr__(name: str) -> Any:
    if name in _ORIGIN:
        return getattr(importlib.import_module(f".{_ORIGIN[name]}", __name__), name)
    if name in _SUBMODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
