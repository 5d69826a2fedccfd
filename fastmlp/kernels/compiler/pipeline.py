"""The passes that turn a kernel's Python into machine code: numba's, without those with no work.

Kernels have no closures, lists, `with` blocks or array expressions, so a third of the compiler's
passes would look at each function for nothing.
"""

from __future__ import annotations

from numba.core import typed_passes as typed
from numba.core import untyped_passes as untyped
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager

_PASSES = (
    (untyped.TranslateByteCode, "read the bytecode"),
    (untyped.FixupArgs, "name the arguments"),
    (untyped.IRProcessing, "make the intermediate representation"),
    (untyped.RewriteSemanticConstants, "find constants"),
    (untyped.DeadBranchPrune, "remove branches that constants rule out"),
    (untyped.GenericRewrites, "find constant indices and fields"),
    (untyped.ReconstructSSA, "assign each variable once"),
    (untyped.DeadBranchPrune, "remove branches that are ruled out now"),
    (typed.NopythonTypeInference, "infer types"),
    (typed.PreLowerStripPhis, "remove phi nodes"),
    (typed.IRLegalization, "check that all can be translated"),
    (typed.NativeLowering, "translate to LLVM's language"),
    (typed.NoPythonBackend, "compile"),
)


class KernelCompiler(CompilerBase):
    """numba's compiler with the passes that kernels need."""

    def define_pipelines(self) -> list[PassManager]:
        """The passes in order; numba calls this."""
        manager = PassManager("kernel")
        for kind, what in _PASSES:
            manager.add_pass(kind, what)
        manager.finalize()
        return [manager]
