"""The machinery between a network and its kernels.

`lowering` turns layers into a program of ops, `engine` gives it memory and runs it, and `layerwise`
does the same layer by layer where a part has no kernel.
"""
