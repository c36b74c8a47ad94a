"""What runs inside Triton's python backend: copied into images as ``mbuild_triton``, imports nothing of builder."""
