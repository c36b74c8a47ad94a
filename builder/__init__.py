"""mbuild: a model directory becomes a tested, reproducible, minimal container image in a registry."""

__version__ = "0.1.0"
