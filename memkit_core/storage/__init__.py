"""Record stores: where memkit keeps the truth. See ``memkit_core.protocols.RecordStore``."""
