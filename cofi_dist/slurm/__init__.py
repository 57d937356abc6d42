"""Batch scripts for SLURM: written for a run, and checked."""
