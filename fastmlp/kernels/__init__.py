"""Everything that is compiled, and nothing else: the only package that imports numba.

README.md in this folder draws who calls whom. Read upwards: `rules` for one number, `products` over
register tiles, `ops` for a kind of layer, then `step`, which strings them together.
"""
