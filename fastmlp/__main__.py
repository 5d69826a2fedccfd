"""Makes `python -m fastmlp` the same as the command `fastmlp`.

Everything is in `cli`; this file only calls it.
"""

from __future__ import annotations

import sys

from .tools.cli import main

sys.exit(main())
