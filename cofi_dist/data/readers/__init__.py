"""Read ratings files as streams of tables of bounded size."""
