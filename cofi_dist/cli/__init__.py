"""The commands: each parses its arguments, loads the config and calls one function."""
