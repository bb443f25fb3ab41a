"""Benchmarks: this library against its peers in one run, as ratios."""
