"""The version of fastmlp, for files, the command line and releases.

This module has no imports, so that any other module can import it.
"""

__version__ = "0.1.0"
