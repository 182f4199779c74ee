"""Checkpoints in SQLite."""
