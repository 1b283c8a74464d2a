"""Programs: ways to play an episode, used by training, evaluation and demo alike."""
