"""Reward parts: pure functions of a finished episode."""
