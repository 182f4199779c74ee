"""memkit for LangGraph: the long-term store, the checkpoint saver and nodes, on one database."""

from __future__ import annotations
