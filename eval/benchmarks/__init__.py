"""Published benchmarks, read from the files that people have."""
