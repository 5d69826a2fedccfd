"""The instruction set that kernels are compiled for: the processor's own, or one that users name.

`NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` choose another one, for example to run on an old machine
what was compiled on a new one, or to test the code for other machines here.
"""

from __future__ import annotations

import functools

import llvmlite.binding as llvm
from numba import config

WIDEST, NARROWEST = 64, 16


def _features() -> str:
    """Features as numba passes them to LLVM."""
    if config.CPU_FEATURES is not None:
        return str(config.CPU_FEATURES)
    return str(llvm.get_host_cpu_features().flatten())


_WIDEN = """
define <8 x float> @widen(<8 x half> %x) {
  %wide = fpext <8 x half> %x to <8 x float>
  ret <8 x float> %wide
}
"""
_MULTIPLY_ADD = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define <16 x float> @multiply_add(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
  %sum = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
  ret <16 x float> %sum
}
"""


def _assembly(code: str) -> str:
    """What LLVM makes of some code for the target."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    cpu = config.CPU_NAME or llvm.get_host_cpu_name()
    machine = target.create_target_machine(cpu=cpu, features=_features(), opt=2)
    return str(machine.emit_assembly(llvm.parse_assembly(code)))


def vector_bytes() -> int:
    """Bytes of the widest vector register for which the target has fused multiply-adds."""
    if config.CPU_NAME is None and config.CPU_FEATURES is None:
        features = llvm.get_host_cpu_features()
        return WIDEST if features.get("avx512f") else 32 if features.get("avx2") else NARROWEST
    made = _assembly(_MULTIPLY_ADD)
    if "fmadd" not in made:  # x86 has wide registers only together with these instructions
        return NARROWEST
    return WIDEST if "zmm" in made else 32 if "ymm" in made else NARROWEST


@functools.cache
def widens_float16() -> bool:
    """Whether the target has an instruction from float16 to float32; a function may be missing."""
    made = _assembly(_WIDEN)
    return "vcvtph2ps" in made or "fcvtl" in made
