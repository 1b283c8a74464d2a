"""Engines behind the tools; a heavy library is imported when one is first asked."""
