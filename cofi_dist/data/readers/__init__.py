"""Read ratings files, and tables given in Python, as streams of tables of bounded size."""
