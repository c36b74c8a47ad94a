"""The OCI object model (image-spec v1.1.1): values, layers, layouts and their validation."""
