"""The command line: options in, one pipeline call, results out."""
