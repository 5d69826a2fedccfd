"""Models in files, and models from and for other libraries.

A file is written whole or not at all, and reading one runs no code that came with it.
"""
