"""The config of a run: its keys, their types and defaults, and how it is read."""

from cofi_dist.config.data_section import SOURCES, Columns, Data, Split, Synthetic
from cofi_dist.config.load import load_config, quote_yaml, resolve
from cofi_dist.config.paths import as_path
from cofi_dist.config.schema import Config, Train, Validation

__all__ = [
    "SOURCES",
    "Columns",
    "Config",
    "Data",
    "Split",
    "Synthetic",
    "Train",
    "Validation",
    "as_path",
    "load_config",
    "quote_yaml",
    "resolve",
]
