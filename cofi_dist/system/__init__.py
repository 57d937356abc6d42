"""Describe the environment of the process: variables, the launcher, memory and hardware."""
