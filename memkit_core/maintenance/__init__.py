"""The upkeep of a store: derived data made anew, damage found, everything moved elsewhere."""
