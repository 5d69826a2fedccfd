"""All kernels of the package that programs call by address."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import fastmlp.kernels
from fastmlp.kernels.compiler.calls import Kernel
from fastmlp.kernels.ops import gather
from fastmlp.nn import LAYERS, Activation
from fastmlp.nn.losses import LINKS, LOSSES
from fastmlp.optim.optimizers import OPTIMIZERS, SGD


def kernels_by_address() -> list[Kernel]:
    """Each of them once: those that modules have by name, and those that parts are made with."""
    found: list[Any] = []
    for info in pkgutil.walk_packages(fastmlp.kernels.__path__, "fastmlp.kernels."):
        found += vars(importlib.import_module(info.name)).values()
    found += gather.BY_KIND.values()
    found += [layer.kernel for layer in LAYERS if issubclass(layer, Activation)]
    found += [loss.kernel for loss in LOSSES]
    found += LINKS.values()
    found += [kind().kernel for kind in OPTIMIZERS]
    found += [SGD(momentum=0.5).kernel]
    return list(dict.fromkeys(value for value in found if isinstance(value, Kernel)))


def name_of(kernel: Kernel) -> str:
    """Module and name, by which its code is kept."""
    module = kernel.called.__module__.rpartition(".")[2]
    return f"{module}.{kernel.called.__qualname__}"
