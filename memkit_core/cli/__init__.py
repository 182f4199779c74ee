"""The command line: ``memkit demo``, ``add``, ``search``, ``doctor``, ``export`` and more.

Exit codes: 0 done, 1 memkit could not do it (one line on standard error says why), 2 wrong usage.
"""

from .commands import app, main
from .review import approve, reject, rollback
from .upkeep import doctor, export_file, import_file, reindex, stats, usage

__all__ = [
    "app",
    "approve",
    "doctor",
    "export_file",
    "import_file",
    "main",
    "reindex",
    "reject",
    "rollback",
    "stats",
    "usage",
]
