"""Measures, never asserts a time: ratios between jobs on the same server in the same run."""
