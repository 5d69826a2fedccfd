"""The data of a network: layers and a loss over flat vectors of parameters, gradients and buffers.

The engine, files and predictors only use the `body` of a network; the methods for users are in
`fastmlp.network`.
"""
