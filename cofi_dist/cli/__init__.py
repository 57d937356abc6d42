"""Define the commands, a file each. A command parses its arguments and calls one function of the package."""
