"""Find settings by many runs: every point of a grid, or trials that a search chooses."""
