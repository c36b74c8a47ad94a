"""Two assemblers of one plan: embedded and docker."""
