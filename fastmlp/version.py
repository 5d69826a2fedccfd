"""The version of fastmlp: in files, on the command line and in the name of a release.

Nothing else stands here, so that any module can import it.
"""

__version__ = "0.1.0"
