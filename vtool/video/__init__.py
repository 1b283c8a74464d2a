"""Video: files opened with a table of true times, frames on demand from a process that may die.

`Video.open(path)` in `source` is the door. Nothing here imports a decoder: libav is loaded by the
worker process alone.
"""
