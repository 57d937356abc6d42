"""Show the help of commands: with examples, and with headings that stand out on a terminal."""

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from cofi_dist.cli.examples import EXAMPLES
from cofi_dist.streams import Style, print_styled

HEADING = re.compile(r"[A-Z][a-z]+:|Usage: ")


class _Helpful:
    """Change how a command or a group of commands shows its help."""

    def format_epilog(self, context: Any, formatter: Any) -> None:
        """Write the examples of the command, as they are: click would break their lines elsewhere."""
        examples = EXAMPLES.get(_name(context))
        if examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in examples))

    def get_help_option(self, context: Any) -> Any:
        """Return the option --help, which prints by `print_help`."""
        option = super().get_help_option(context)  # type: ignore[misc]
        if option is not None:
            option.callback = _show_help
        return option


class HelpfulCommand(_Helpful, TyperCommand):
    """Show a command's help with its examples."""


class HelpfulGroup(_Helpful, TyperGroup):
    """Show the help of commands that belong together."""


def print_help(text: str) -> None:
    """Print the help of a command, with headings that stand out."""
    for line in text.splitlines():
        heading = HEADING.match(line)
        end = heading.end() if heading else 0
        print_styled((line[:end], Style.heading), (line[end:], Style.plain))


def _show_help(context: Any, _: Any, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        print_help(context.get_help())
        context.exit()


def _name(context: Any) -> str:
    """Return the name of the command, without that of the program."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(names)
