"""Worlds: seeded task generators that write real image files and jsonl."""
