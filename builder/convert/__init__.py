"""Isolated, locked environments and the single-file workers that run in them."""
