"""Measuring memkit on published data sets."""
