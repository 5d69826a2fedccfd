"""Ops: what a program is made of, one file per kind.

Each has kernels for the forward pass, the backward pass and the gradient of its parameters, which
the step calls by address. `fastmlp/engine/lowering.py` chooses among those of a kind.
"""
