"""The commands, one file per command. Each parses its arguments and calls one function of the package."""
