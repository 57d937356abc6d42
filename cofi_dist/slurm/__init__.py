"""Batch scripts for SLURM: the templates, a script made from one of them, and what is wrong with a script.

The folder slurm/ of the repository holds links to the templates, for `sbatch slurm/train.sbatch`.
"""
