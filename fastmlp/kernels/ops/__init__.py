"""Ops: the building blocks of a program, one file per kind.

Each kind has kernels for the forward pass, the backward pass and the gradient of its parameters,
which the step calls by address. `fastmlp/engine/lowering.py` chooses the variant of a kernel.
"""
