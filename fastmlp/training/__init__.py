"""Everything that happens during a fit: the loop, validation, stopping, checkpoints, history.

Begin with `fit`.
"""
