"""What other systems need to build or run our images: documents in their own formats, made as values."""
