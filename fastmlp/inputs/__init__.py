"""Input checks: users' arguments are checked and converted to arrays that compiled code can read.

Errors are raised here, before anything is changed.
"""
