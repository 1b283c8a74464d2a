"""Methods that differ from another by one thing, for claims."""
