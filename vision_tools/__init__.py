"""What the agent can do: one tool a file."""
