"""How an agent is measured."""
