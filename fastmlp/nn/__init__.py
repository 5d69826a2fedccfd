"""Layers, losses and initial weights: the parts of a network.

A layer describes itself (sizes, options) and, once bound, holds views into its network's flat
parameters. It computes with the same kernels as the compiled step.
"""

from .activations import ACTIVATIONS as ACTIVATIONS
from .activations import ELU as ELU
from .activations import GELU as GELU
from .activations import SELU as SELU
from .activations import Activation as Activation
from .activations import Cosine as Cosine
from .activations import Identity as Identity
from .activations import LeakyReLU as LeakyReLU
from .activations import Mish as Mish
from .activations import ReLU as ReLU
from .activations import Rescaling as Rescaling
from .activations import Sigmoid as Sigmoid
from .activations import SiLU as SiLU
from .activations import Softplus as Softplus
from .activations import Tanh as Tanh
from .branches import Columns as Columns
from .branches import Container as Container
from .branches import Residual as Residual
from .chain import chain_sizes as chain_sizes
from .chain import every_layer as every_layer
from .chain import initialize_from as initialize_from
from .chain import leaves as leaves
from .compiled_layer import CompiledLayer as CompiledLayer
from .dense import Dense as Dense
from .dropout import Dropout as Dropout
from .embedding import Embedding as Embedding
from .grouped import GroupedDense as GroupedDense
from .grouped import PiecewiseLinear as PiecewiseLinear
from .initializers import INITIALIZERS as INITIALIZERS
from .initializers import NTK as NTK
from .initializers import GlorotNormal as GlorotNormal
from .initializers import GlorotUniform as GlorotUniform
from .initializers import HeNormal as HeNormal
from .initializers import HePlus as HePlus
from .initializers import HeUniform as HeUniform
from .initializers import Initializer as Initializer
from .initializers import LeCunNormal as LeCunNormal
from .initializers import LeCunUniform as LeCunUniform
from .initializers import Normal as Normal
from .initializers import Uniform as Uniform
from .initializers import UnitVariance as UnitVariance
from .initializers import Zeros as Zeros
from .layer import LAYERS as LAYERS
from .layer import Layer as Layer
from .learned import ParametricActivation as ParametricActivation
from .learned import PReLU as PReLU
from .learned import Scale as Scale
from .losses import LOSSES as LOSSES
from .losses import BinaryCrossEntropy as BinaryCrossEntropy
from .losses import CompiledLoss as CompiledLoss
from .losses import Huber as Huber
from .losses import Loss as Loss
from .losses import MeanAbsoluteError as MeanAbsoluteError
from .losses import MeanOfMembers as MeanOfMembers
from .losses import MeanSquaredError as MeanSquaredError
from .losses import PoissonDeviance as PoissonDeviance
from .losses import Quantile as Quantile
from .losses import SoftmaxCrossEntropy as SoftmaxCrossEntropy
from .members import Members as Members
from .members import SharedDense as SharedDense
from .norm import BatchNorm as BatchNorm
from .norm import LayerNorm as LayerNorm
