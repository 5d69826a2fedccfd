"""How Python functions become machine code: the decorator, calls by address, the cache on disk.

All code that depends on numba's internals is in this package.
"""
