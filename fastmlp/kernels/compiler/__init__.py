"""How Python functions become machine code: the decorator, calls by address, the cache on disk.

All that depends on how numba works inside is here.
"""
