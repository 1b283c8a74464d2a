"""Data that ship with vtool: the tiny policies and the pictures of the demo."""
