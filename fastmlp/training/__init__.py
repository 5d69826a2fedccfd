"""Everything that happens during a fit: the loop, validation, stopping, checkpoints, history.

`plain` is the algorithm in a dozen lines; `fit` is what `Network.fit` runs.
"""
