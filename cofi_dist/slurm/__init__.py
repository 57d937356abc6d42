"""Write batch scripts for SLURM from templates, and check them.

The folder slurm/ of the repository holds links to the templates, for `sbatch slurm/train.sbatch`.
"""
