"""The stages of the write path and the read path, written once for both runtimes."""
