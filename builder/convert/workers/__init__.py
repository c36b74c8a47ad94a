"""Single files that run inside isolated environments; they import nothing of mbuild."""
