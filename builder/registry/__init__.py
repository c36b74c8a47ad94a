"""The registry client (distribution-spec v1.1.1): endpoints, credentials, push and pull."""
