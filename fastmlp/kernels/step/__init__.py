"""The compiled step: a loop over a program's ops, for all batches of some epochs.

Here is how threads share the work, how rows are read, and how held-out rows are judged.
"""
