"""Methods side by side: equal sampled tokens, equal seeds, on worlds whose best play is known."""
