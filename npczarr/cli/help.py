"""Help pages on which an option without a value has no type beside it."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command with such a page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - of a library inside typer
        """Write the page."""
        _hide_types(self.get_params(ctx))
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """The program, with such a page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the page."""
        _hide_types(self.get_params(ctx))
        super().format_help(ctx, formatter)


def _hide_types(parameters: list[Any]) -> None:
    for one in parameters:
        if getattr(one, "is_flag", False):
            one.metavar = ""
