"""Layers, each with `forward` and `backward` on mini-batches.

A layer describes itself (sizes, options) and, once bound, holds views into its network's flat
parameters; what it computes is done by the same kernels as in the fused step.
"""

from .activations import (
    ACTIVATIONS as ACTIVATIONS,
)
from .activations import (
    ELU as ELU,
)
from .activations import (
    GELU as GELU,
)
from .activations import (
    SELU as SELU,
)
from .activations import (
    Activation as Activation,
)
from .activations import (
    Identity as Identity,
)
from .activations import (
    LeakyReLU as LeakyReLU,
)
from .activations import (
    Mish as Mish,
)
from .activations import (
    ReLU as ReLU,
)
from .activations import (
    Rescaling as Rescaling,
)
from .activations import (
    Sigmoid as Sigmoid,
)
from .activations import (
    SiLU as SiLU,
)
from .activations import (
    Softplus as Softplus,
)
from .activations import (
    Tanh as Tanh,
)
from .base import LAYERS as LAYERS
from .base import Layer as Layer
from .branches import Columns as Columns
from .branches import Container as Container
from .branches import Residual as Residual
from .chain import chain_sizes as chain_sizes
from .chain import every_layer as every_layer
from .chain import leaves as leaves
from .compiled import CompiledLayer as CompiledLayer
from .dense import Dense as Dense
from .dropout import Dropout as Dropout
from .embedding import Embedding as Embedding
from .learned import PReLU as PReLU
from .learned import Scale as Scale
from .norm import BatchNorm as BatchNorm
from .norm import LayerNorm as LayerNorm
