"""Define the config of a run: its keys, their types and defaults, and how it is read."""

from cofi_dist.config.data_section import (
    SOURCES,
    ColumnNames,
    DataSection,
    DuplicateRule,
    Feedback,
    SplitSection,
    SyntheticSection,
)
from cofi_dist.config.load import load_config, quote_yaml, resolve
from cofi_dist.config.schema import Config, Metric, ValidationSection
from cofi_dist.config.train_section import TrainSection

__all__ = [
    "SOURCES",
    "ColumnNames",
    "Config",
    "DataSection",
    "DuplicateRule",
    "Feedback",
    "Metric",
    "SplitSection",
    "SyntheticSection",
    "TrainSection",
    "ValidationSection",
    "load_config",
    "quote_yaml",
    "resolve",
]
