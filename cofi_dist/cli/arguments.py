"""Arguments that several commands share, and how all commands take theirs: options once, paths as names."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typer.core import TyperCommand
from typer.models import OptionInfo, ParameterInfo

from cofi_dist.config import as_path
from cofi_dist.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Sets a key of the config, each once: train.epochs=300, 'data.test={by: last, n: 1}',"
        " data.ratings=~/r.csv. VALUE is YAML, or text as it stands where the key holds text; null unsets a"
        " key. The README lists all keys.",
        show_default=False,
    ),
]
Run = Annotated[Path, typer.Argument(help="Run directory, or that of a model.", show_default=False)]
Prepared = Annotated[
    Path | None, typer.Option(help="Prepared ratings of the run, where they were moved.", show_default=False)
]
Titles = Annotated[
    Path | None, typer.Option(help="File of titles: movies.csv, movies.dat or u.item.", show_default=False)
]
ListLength = Annotated[int, typer.Option("-k", metavar="N", help="Length of a list.", min=1)]
MinRatings = Annotated[
    int, typer.Option(metavar="N", help="Leave out items with fewer training ratings.", min=0)
]


class Strict(TyperCommand):
    """A command that refuses an option given twice; the last one would win in silence."""

    def make_parser(self, ctx: Any) -> Any:
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_once(args: list[str]) -> Any:
            values, rest, order = parse(args)
            for given, count in Counter(order).items():
                single = not getattr(given, "multiple", False) and not getattr(given, "is_flag", False)
                if count > 1 and single:
                    raise ConfigError(f"{given.opts[0]}: is given {count} times; give it once", shared=True)
            return values, rest, order

        parser.parse_args = parse_once  # type: ignore[method-assign]
        return parser


def with_plain_paths(command: F) -> F:
    """Let `as_path` read every path of a command."""
    for hint in get_type_hints(command, include_extras=True).values():
        kind, *said = get_args(hint) or [hint]
        if Path not in (kind, *get_args(kind)):
            continue
        for about in said:
            assert isinstance(about, ParameterInfo)
            about.parser = _path
            if isinstance(about, OptionInfo):
                about.metavar = "PATH"
    return command


def _path(text: Any) -> Path:
    return Path(as_path(str(text)))
