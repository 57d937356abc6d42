"""Define arguments that several commands share, and two rules for all: options once, paths as names."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typer.models import OptionInfo, ParameterInfo

from cofi_dist.cli.completion import complete_override, complete_run
from cofi_dist.cli.help import HelpfulCommand
from cofi_dist.errors import ConfigError
from cofi_dist.files.paths import as_data_path, as_path

F = TypeVar("F", bound=Callable[..., Any])

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Sets a key of the config, each once: train.epochs=300, 'data.test={by: last, n: 1}',"
        " data.ratings=~/r.csv. VALUE is YAML, or text as it stands if the key holds text; null unsets a"
        " key. docs/config.md lists all keys.",
        show_default=False,
        autocompletion=complete_override,
    ),
]
Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="Run directory, or that of a model.",
        show_default=False,
        autocompletion=complete_run,
    ),
]
RunDirectory = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run directory.", show_default=False, autocompletion=complete_run),
]
Prepared = Annotated[
    Path | None, typer.Option(help="Prepared ratings of the run, if they were moved.", show_default=False)
]
Titles = Annotated[
    Path | None, typer.Option(help="File of titles: movies.csv, movies.dat or u.item.", show_default=False)
]
ListLength = Annotated[int, typer.Option("-k", metavar="N", help="Length of a list.", min=1)]
MinRatings = Annotated[
    int, typer.Option(metavar="N", help="Leave out items with fewer training ratings.", min=0)
]


class Files(str):
    """Name ratings files: by a path, a pattern or a URL."""

    __slots__ = ()


class DeviceName(StrEnum):
    """Name what lists are made on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Device = Annotated[DeviceName, typer.Option(help="Where to make lists; they are the same.")]


class StrictCommand(HelpfulCommand):
    """Refuse an option given twice, of which typer would silently take the last."""

    def make_parser(self, ctx: Any) -> Any:
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_once(args: list[str]) -> Any:
            values, rest, order = parse(args)
            for option, count in Counter(order).items():
                once = not getattr(option, "multiple", False) and not getattr(option, "is_flag", False)
                if once and count > 1:
                    raise ConfigError(f"{option.opts[0]}: is given {count} times; give it once", shared=True)
            return values, rest, order

        parser.parse_args = parse_once  # type: ignore[method-assign]
        return parser


def with_plain_paths(command: F) -> F:
    """Make a command read each of its paths by `as_path`."""
    for hint in get_type_hints(command, include_extras=True).values():
        kind, *parameters = get_args(hint) or [hint]
        kinds = (kind, *get_args(kind))
        if Path not in kinds and Files not in kinds:
            continue
        for parameter in parameters:
            assert isinstance(parameter, ParameterInfo)
            parameter.parser = _path if Path in kinds else _files
            if isinstance(parameter, OptionInfo):
                parameter.metavar = "PATH"
    return command


def _files(text: Any) -> Files:
    return Files(as_data_path(str(text)))


def _path(text: Any) -> Path:
    return Path(as_path(str(text)))
