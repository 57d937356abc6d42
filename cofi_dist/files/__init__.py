"""Write files and directories that are complete or absent, and read files with care."""
