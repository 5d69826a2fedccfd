"""Everything that is compiled, and nothing else: the only package that imports numba.

Read `rules` upwards: scalar rules (activations, losses, optimizers), products of matrices over
register tiles, then the step that strings them together for a whole epoch.
"""
