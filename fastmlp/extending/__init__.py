"""Parts that users write themselves: how they are compiled, and what is asked of them.

docs/extending.md shows how to use them.
"""
