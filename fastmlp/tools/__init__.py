"""The command line and its parts, and the gradient check.

`cli` parses arguments, `commands` runs the commands.
"""
