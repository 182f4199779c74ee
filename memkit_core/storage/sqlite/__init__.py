"""The default record store: one SQLite file, nothing to install."""

from .store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite"]
