"""Makes `python -m fastmlp` the same as the command `fastmlp`.

This file only calls `fastmlp.tools.cli`.
"""

from __future__ import annotations

import sys

from .tools.cli import main

sys.exit(main())
