"""Which files and which config a server adds to a plan."""
