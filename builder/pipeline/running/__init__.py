"""Images in use: run here, and deployed on a cluster."""
