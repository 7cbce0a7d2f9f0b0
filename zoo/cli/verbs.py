"""Groups of verbs, imported when they are used so that `zoo --help` is quick; options in groups."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click

from zoo.errors import UsageError, did_you_mean


class Verbs(click.Group):
    """A group whose help imports none of its verbs.

    Args:
        verbs: name -> line of help and where the command is, ``"module:attribute"``, in the order
            in which a newcomer needs them.
        elsewhere: what other tools call a verb -> what to type here.
        attributes: what `click.Group` takes.
    """

    def __init__(
        self,
        *,
        verbs: Mapping[str, tuple[str, str]],
        elsewhere: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(**attributes)
        self.verbs = verbs
        self.elsewhere = elsewhere or {}

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
            word = args[0]
            if word in self.elsewhere:
                raise UsageError(
                    f"no verb {word!r}", hint=self.elsewhere[word], code="unknown-verb"
                )
            raise UsageError(
                f"no verb {word[:40]!r}.{did_you_mean(word, self.verbs)}",
                hint=f"{ctx.command_path} -h",
                code="unknown-verb",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs without importing any of them."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, row[0]) for name, row in self.verbs.items()])


class Grouped(click.Command):
    """A command whose help shows its options in groups.

    Args:
        groups: heading -> names of the parameters, in their order; the others follow at the end.
        attributes: what `click.Command` takes.
    """

    def __init__(self, *, groups: Mapping[str, Sequence[str]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group of options."""
        rows = {
            str(parameter.name): row
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and (row := parameter.get_help_record(ctx))
        }
        grouped = {name for names in self.groups.values() for name in names}
        others = [name for name in rows if name not in grouped]
        for heading, names in {**self.groups, "Other": others}.items():
            if shown := [rows[name] for name in names if name in rows]:
                with formatter.section(heading):
                    formatter.write_dl(shown)
