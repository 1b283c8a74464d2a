"""Metrics of published benchmarks: how each reads an answer, and how it sums up."""
