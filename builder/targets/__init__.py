"""What a target needs: the lock, wheels for the image's runtime, bytecode."""
