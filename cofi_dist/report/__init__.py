"""Show runs: pictures of one or several, one page about a run, its checkpoints, and how two runs differ."""
