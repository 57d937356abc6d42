"""What the process runs on: environment variables, the launcher, memory and hardware."""
