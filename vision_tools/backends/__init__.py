"""What tools stand on: readers, indices and finders. Heavy libraries are imported when called."""
