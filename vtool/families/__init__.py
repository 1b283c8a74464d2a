"""Model families: chat template, image tokens, positions and pixels of one kind of model."""
