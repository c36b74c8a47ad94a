"""Runs a built image as production would, and says whether it serves."""
