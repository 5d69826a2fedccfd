"""All compiled code: the only package that imports numba.

README.md in this folder has a call graph. Read bottom-up: `rules` for single numbers, `products`
over register tiles, `ops` for kinds of layers, then `step`, which runs them in sequence.
"""
