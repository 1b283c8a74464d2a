"""Doors to other harnesses: our agent as a model in theirs, our results in their log format."""
