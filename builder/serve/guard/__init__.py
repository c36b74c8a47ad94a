"""Who may talk to the server: TLS, keys, and the origins of pages in browsers. Imported only where one is set."""
