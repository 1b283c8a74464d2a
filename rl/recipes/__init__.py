"""Recipes: annotated YAML, found by file name."""
