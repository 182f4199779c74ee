"""Versioned prompts, each beside the schema of its answer."""
