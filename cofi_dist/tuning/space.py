"""Read the space of a search: which keys vary, and between which bounds or among which values."""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from cofi_dist.config import Config
from cofi_dist.config.strict_yaml import parse, to_yaml
from cofi_dist.errors import ConfigError
from cofi_dist.files.reading import shortened
from cofi_dist.training.metrics import Criterion
from cofi_dist.tuning.compared import criterion_of, listed, require_keys

RANGE = re.compile(r"(uniform|log|int|log-int):(.*)", re.DOTALL)
NO_RANGE = re.compile(r"([A-Za-z_-]+):[^:,]+:[^:,]+")  # a misspelt one
MOST = {"int": 2.0**53, "float": 1e300}
MOST_CORNERS = 200
HOW = "write KEY=V1,V2,... or KEY=RANGE:LOW:HIGH, where RANGE is uniform, log, int or log-int"

# Returns the config of a run with these overrides.
Configure: TypeAlias = Callable[[Sequence[str]], Config]


@dataclass(frozen=True)
class Range:
    """Let a number vary between two bounds, which belong to the range.

    Attributes:
        key: the key of the config.
        low, high: the bounds.
        is_log: whether its logarithm is what varies evenly.
    """

    key: str
    low: int | float
    high: int | float
    is_log: bool

    @property
    def is_whole(self) -> bool:
        """Tell whether it is a whole number."""
        return isinstance(self.low, int)

    @property
    def corners(self) -> list[str]:
        """Return the bounds, as YAML."""
        return [to_yaml(self.low, one_line=True), to_yaml(self.high, one_line=True)]

    def __str__(self) -> str:
        whole, log = ("int" if self.is_whole else ""), ("log" if self.is_log else "")
        return f"{self.key}={'-'.join(filter(None, (log, whole))) or 'uniform'}:{':'.join(self.corners)}"


@dataclass(frozen=True)
class Choices:
    """Let a key have one of several values.

    Attributes:
        key: the key of the config.
        corners: the values, as YAML.
    """

    key: str
    corners: list[str]

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.corners)}"


Axis: TypeAlias = Range | Choices


def parse_space(words: Sequence[str], option: str = "--space") -> list[Axis]:
    """Return what varies in a search.

    Args:
        words: texts `KEY=WORD`, where WORD is a range such as `log:0.1:100`, or a YAML list without brackets.
        option: names the words in messages.

    Raises:
        ConfigError: a word is neither; the message names it and its key.
    """
    return [_axis(word, option) for word in words]


def words_of(space: Mapping[str, Any]) -> list[str]:
    """Return the words of a space that is given in Python: by key, a range in words or a list of values.

    Raises:
        ConfigError: a value is neither, or a key is no text.
    """
    words = []
    for key, given in space.items():
        if not isinstance(key, str):
            raise ConfigError(f"space: {shortened(key)} is no key; keys are text")
        if isinstance(given, list | tuple):
            words.append(f"{key}={to_yaml(list(given), one_line=True)[1:-1]}")
        elif isinstance(given, str):
            words.append(f"{key}={given}")
        else:
            raise ConfigError(
                f"space: {key}: must be a list of values, or a range such as 'log:0.1:100', not"
                f" {shortened(given)}"
            )
    return words


def _axis(word: str, option: str) -> Axis:
    key, equals, given = word.partition("=")
    try:
        if not (key and equals):
            raise ConfigError(HOW)
        if (found := RANGE.fullmatch(given)) is not None:
            return _range(key, *found.groups())
        if (misspelt := NO_RANGE.fullmatch(given)) is not None:
            raise ConfigError(f"there is no range {misspelt[1]}; write uniform, log, int or log-int")
        texts = listed(given)
        if not texts:
            raise ConfigError(HOW)
        for text in texts:
            if texts.count(text) > 1:
                raise ConfigError(f"{shortened(text, quoted=False)} is given twice; keep one of them")
    except ConfigError as error:
        raise ConfigError(f"{option} {shortened(word)}: {error}") from None
    return Choices(key, texts)


def _range(key: str, kind: str, bounds: str) -> Range:
    texts = bounds.split(":")
    if len(texts) != 2:
        raise ConfigError(f"write two bounds, as in {kind}:LOW:HIGH")
    is_whole, is_log = kind.endswith("int"), kind.startswith("log")
    low, high = (_bound(text, is_whole) for text in texts)
    if low >= high:
        raise ConfigError(f"{low} is not below {high}; write the lower bound first")
    if is_log and low <= 0:
        raise ConfigError(f"{low} has no logarithm; write a bound above 0")
    return Range(key, low, high, is_log)


def _bound(text: str, is_whole: bool) -> int | float:
    """Return a bound of a range."""
    value, kind = parse(text), "int" if is_whole else "float"
    is_number = isinstance(value, int if is_whole else int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ConfigError(f"the bound {shortened(text)} is not a {'whole' if is_whole else 'finite'} number")
    if abs(value) > MOST[kind]:
        raise ConfigError(f"the bound {shortened(text)} is beyond {MOST[kind]:.0e}")
    return value if is_whole else float(value)


def check_space(
    space: Sequence[Axis], configure: Configure, overrides: Sequence[str], name: str, option: str = "--space"
) -> tuple[Config, Criterion]:
    """Check the configs of a space's corners; return that of the first, and the figure that judges all.

    The corners are all combinations of bounds and listed values, of which the first 200 are looked at.

    Args:
        space: what varies.
        configure: returns the config of a corner.
        overrides: what is set for all trials.
        name: what the config was read from, for messages.
        option: names the space in messages.

    Raises:
        ConfigError: no key varies, or the config of a corner cannot be used; the message names the key.
    """
    if not space:
        raise ConfigError(f"{option}: nothing varies; {HOW}")
    require_keys(option, [axis.key for axis in space], overrides)
    found: list[tuple[Config, Criterion]] = []
    for number, corner in enumerate(itertools.islice(_corners(space), MOST_CORNERS)):
        config = configure(corner)
        first = found[0][1] if found else None
        found.append((config, criterion_of(config, name, first, number)))
    config = found[0][0]
    if config.checkpoint.start_from is not None:
        raise ConfigError(
            f"{name}: checkpoint.resume: each trial goes on with itself; start them from a model with"
            " train.start, or leave it out"
        )
    return found[0]


def _corners(space: Sequence[Axis]) -> Iterator[list[str]]:
    for values in itertools.product(*(axis.corners for axis in space)):
        yield [f"{axis.key}={value}" for axis, value in zip(space, values, strict=True)]
