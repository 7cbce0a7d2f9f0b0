"""Groups of verbs that are imported when they are used, so that `zoo --help` is quick."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from zoo.errors import UsageError, did_you_mean


class Verbs(click.Group):
    """A group whose help imports none of its verbs.

    Args:
        verbs: name -> line of help and where the command is, ``"module:attribute"``, in the order
            in which a newcomer needs them.
        attributes: what `click.Group` takes.
    """

    def __init__(self, *, verbs: Mapping[str, tuple[str, str]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in their order."""
        del ctx
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        del ctx
        if cmd_name not in self.verbs:
            return None
        module, _, attribute = self.verbs[cmd_name][1].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or name the nearest one."""
        if args and args[0] not in self.verbs and not args[0].startswith("-"):
            raise UsageError(
                f"no verb {args[0][:40]!r}.{did_you_mean(args[0], self.verbs)}",
                hint=f"{ctx.command_path} -h",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs without importing any of them."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, row[0]) for name, row in self.verbs.items()])
