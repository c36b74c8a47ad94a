"""HTTP/1.1: bytes from a socket to requests, and answers back."""
