"""A fuzzer over estimators, networks and their parts, in processes that can be seen to die.

A case is a number: `python -m tests.stress --only fuzz --case NUMBER` runs it alone and shows its
steps. It is run twice, with every array ending where an unreadable page begins and with every array
starting behind one (`guarded`). A death, a hang, an exception that is no refusal, an answer
other than scikit-learn's that `differences` does not declare, and inputs that come out changed are
faults.
"""

from __future__ import annotations

from .instruments import PLANTS as PLANTS
from .processes import run as run
from .processes import show as show
