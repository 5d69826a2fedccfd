"""What a network is: layers and a loss over flat vectors of parameters, gradients and buffers.

`body` is all that the engine, files and predictors need to know of a network; what users call is
in `fastmlp.network`.
"""
