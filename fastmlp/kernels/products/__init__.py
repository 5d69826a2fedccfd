"""Matrix products over register tiles: dense, narrow and sparse.

`tiles` is the innermost block, `matmul` the loops around it.
"""
