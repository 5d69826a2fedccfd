"""The way in: what users pass is checked here and becomes arrays that compiled code can read.

Errors are raised here, before anything is changed.
"""
