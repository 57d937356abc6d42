"""Files and directories that are complete or absent, and whose every byte is checked."""
