"""The command line and what it is made of, and the gradient check.

`cli` reads arguments, `commands` does what they say.
"""
