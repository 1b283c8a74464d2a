"""vtool: train, run and measure vision-language agents that think with images."""
