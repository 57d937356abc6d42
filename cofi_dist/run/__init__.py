"""The life of a run: begun, resumed, saved, stopped, and its directory."""
