"""Where a model's programs run: a process behind a kernel boundary, never this one."""
