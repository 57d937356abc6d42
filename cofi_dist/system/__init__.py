"""The environment of the process: variables, the launcher, memory and hardware."""
