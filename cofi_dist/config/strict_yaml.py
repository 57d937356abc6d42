"""Read and write a subset of YAML in which nothing is taken for something else or unfolds without end.

What surprises in YAML 1.1 is left out: yes, no, on and off are text, and so are dates; octal and base 60
numbers and ~ are refused. As in YAML 1.2, 1e-4 is a number.
"""

import math
import re
from typing import Any

import yaml

from cofi_dist.errors import ConfigError
from cofi_dist.files.reading import shortened

MOST_BYTES = 2**16  # of a config; PyYAML reads about as many in half a second
MOST_NODES = 5_000  # keys and values, each as often as aliases repeat it
MOST_DEPTH = 50  # of brackets in brackets, which take PyYAML the square of it
MOST_DIGITS = 400  # of a number; one of 310 is beyond float64
FLOAT, INT = "tag:yaml.org,2002:float", "tag:yaml.org,2002:int"
NULL, BOOL, MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:merge"
LEFT_OUT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value", BOOL)
# Numbers with an exponent; those of YAML 1.1 need a point before it and a sign in it.
WITH_EXPONENT = re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
    """Build nothing ambiguous, and refuse a key given twice, of which PyYAML silently keeps the last."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level >= MOST_DEPTH:
            raise ConfigError("is nested too deeply")
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise ConfigError(f"holds more than {MOST_NODES:,} values")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _at(key_node, f"a key must be text, not {shortened(key)}")
            if key in seen:
                raise _at(key_node, f"{shortened(key, quoted=False)}: given twice; keep one of them")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = node.value
        if ":" in text:
            raise _at(
                node, f"{shortened(text)} is a number to base 60 in YAML; write it out, or text in quotes"
            )
        if re.match(r"[-+]?0[0-9_]", text) and node.tag.endswith(":int"):
            raise _at(node, f"{shortened(text)} is octal in YAML; write it without the 0, or text in quotes")
        if len(text) > MOST_DIGITS:
            raise _at(node, f"a number of {len(text):,} digits is beyond any use")
        is_int = node.tag.endswith(":int")
        number: int | float = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        return number

    def construct_null(self, node: yaml.ScalarNode) -> None:
        if node.value == "~":
            raise _at(node, "~ alone is null in YAML; write null, or a path in quotes")


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in LEFT_OUT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(FLOAT, WITH_EXPONENT, list("-+.0123456789"))
_Loader.add_constructor(INT, _Loader.construct_number)
_Loader.add_constructor(FLOAT, _Loader.construct_number)
_Loader.add_constructor(NULL, _Loader.construct_null)


class _Dumper(yaml.SafeDumper):
    """Put quotes around text that this loader, or any of YAML 1.1, would take for something else."""


_Dumper.add_implicit_resolver(FLOAT, WITH_EXPONENT, list("-+.0123456789"))


def to_yaml(value: Any, *, one_line: bool = False) -> str:
    """Write a value as YAML, so that `parse` gives it back.

    Args:
        value: of the types that YAML has.
        one_line: whether to write it on one line, as an override or a value in a config may be.
    """
    width = math.inf if one_line else None
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=one_line, width=width)
    return str(text).removesuffix("\n").removesuffix("\n...") if one_line else str(text)


def parse(text: str) -> Any:
    """Return what one YAML document says.

    Raises:
        ConfigError: the line, and what is wrong with it; without the name of the file.
    """
    value, _ = parse_to(text)
    return value


def parse_to(text: str) -> tuple[Any, int]:
    """Return what one YAML document says, and where in the text it ends; the rest is comments.

    Raises:
        ConfigError: as of `parse`.
    """
    if len(text) > MOST_BYTES:
        raise ConfigError(f"has {len(text):,} characters, and may have {MOST_BYTES:,}")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, 0
        _count(node, {}, [])
        return loader.construct_document(node), node.end_mark.index
    except yaml.reader.ReaderError as error:
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise ConfigError(f"holds the character U+{code:04X}; in YAML write it as an escape") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"line {line}: not YAML: {shortened(error.problem, quoted=False)}") from None
    except RecursionError:
        raise ConfigError("is nested too deeply") from None
    except (ValueError, LookupError, TypeError, AttributeError):  # of !!int x, say
        raise ConfigError("not YAML: a tag does not fit its value") from None


def _count(node: yaml.Node, known: dict[int, int], above: list[int]) -> int:
    """Return how many nodes a node unfolds to; raise ConfigError if they are too many, or without end."""
    if id(node) in above:
        raise _at(node, "an alias refers to what it stands in; write the values out")
    if id(node) not in known:
        above.append(id(node))
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        pairs = [child if isinstance(child, tuple) else (child,) for child in children]
        known[id(node)] = 1 + sum(_count(each, known, above) for pair in pairs for each in pair)
        above.pop()
        if known[id(node)] > MOST_NODES:
            raise _at(node, f"unfolds to more than {MOST_NODES:,} values; write fewer, and no aliases")
    return known[id(node)]


def _at(node: yaml.Node, what: str) -> ConfigError:
    return ConfigError(f"line {node.start_mark.line + 1}: {what}")
