"""The command line: options in, one pipeline call, results out. The only user of typer and rich."""
