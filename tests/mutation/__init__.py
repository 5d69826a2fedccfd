"""Faults put into the kernels one at a time: how many of them do the tests find?

`python -m tests.mutation` draws faults with a seed, runs the tests against each, and reports the
score and every fault that nobody noticed.
"""
