"""One file per model format: is it this, and what does it say about itself."""
