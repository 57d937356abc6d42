"""One training run, from its config to its saved model; `train.py` tells the story from top to bottom."""
