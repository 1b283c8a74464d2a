"""Commands of the ground floor: thin, one a file; heavy libraries only when they run."""
