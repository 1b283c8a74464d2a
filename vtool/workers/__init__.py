"""How a tool's call is carried out: threads, worker processes, deadlines, shared results."""
