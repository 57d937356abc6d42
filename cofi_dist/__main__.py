"""Run the command line as `python -m cofi_dist`, the form that torchrun starts."""

from cofi_dist.cli.main import main

main()
