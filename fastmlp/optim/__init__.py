"""Optimizers, and schedules for hyperparameters that change during training.

Both are registered by name, so that they can be chosen by strings and on the command line.
"""

from .optimizers import OPTIMIZERS as OPTIMIZERS
from .optimizers import SGD as SGD
from .optimizers import Adagrad as Adagrad
from .optimizers import Adam as Adam
from .optimizers import AdamW as AdamW
from .optimizers import Factor as Factor
from .optimizers import Optimizer as Optimizer
from .optimizers import RMSprop as RMSprop
from .schedules import SCHEDULES as SCHEDULES
from .schedules import Constant as Constant
from .schedules import Cosine as Cosine
from .schedules import Exponential as Exponential
from .schedules import FromFunction as FromFunction
from .schedules import InverseScaling as InverseScaling
from .schedules import Linear as Linear
from .schedules import OneCycle as OneCycle
from .schedules import Schedule as Schedule
from .schedules import Step as Step
from .schedules import WarmUp as WarmUp
