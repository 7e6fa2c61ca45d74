"""A command with arguments of its own that has commands below it, too: `counts RESOURCE` and `counts export`."""

from __future__ import annotations

import importlib
from typing import Any

import click


class WithSubcommands(click.Command):
    """subcommands: name -> (module, one line of help). A first argument of that name means the command below;
    after `--` it is an argument like any other."""

    def __init__(self, *args: Any, subcommands: dict[str, tuple[str, str]], **more: Any) -> None:
        super().__init__(*args, **more)
        self._subcommands = subcommands

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in self._subcommands:
            module, _ = self._subcommands[args[0]]
            command: click.Command = getattr(importlib.import_module(module), args[0])
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in self._subcommands.items()])
