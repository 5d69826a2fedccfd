"""User-defined parts: how they are compiled and checked.

docs/extending.md shows how to write them.
"""
