"""One sample on its way through a network, with every number written down.

`recorder` makes a trace, `trace` is what users get, `story` prints it.
"""
