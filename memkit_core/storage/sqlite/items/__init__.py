"""Items in SQLite."""
