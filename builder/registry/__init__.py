"""The registry client: endpoints, authentication, push, pull."""
