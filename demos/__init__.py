"""How an agent is seen."""
