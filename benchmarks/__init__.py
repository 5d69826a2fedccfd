"""Benchmarks against other libraries: equal results first, then interleaved timing.

`python -m benchmarks` runs them (see `__main__`); none of this is part of the installed package.
"""
