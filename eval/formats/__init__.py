"""Readers of the files in which benchmarks are published: light cells at once, heavy ones late."""
