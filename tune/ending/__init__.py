"""How a command ends: its exit code, and what Ctrl-C and other signals do to it."""
