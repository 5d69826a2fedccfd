"""The compiled step: a loop over a program's ops, for all batches of one or more epochs.

This package also divides the work among threads, reads rows and judges held-out rows.
"""
