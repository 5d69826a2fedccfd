"""Model files, and exchange of models with other libraries.

Files are written atomically, and reading one runs no code from it.
"""
