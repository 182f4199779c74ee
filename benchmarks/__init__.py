"""What memkit's operations cost, beside what others take for the same; run ``python -m benchmarks``."""
