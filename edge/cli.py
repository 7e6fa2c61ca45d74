"""The `smartedu` command: a thin table of commands, each in its own module of `edge.commands`."""

from __future__ import annotations

import importlib
from typing import Any

import click

from edge.commands.one_line import in_one_line

COMMANDS = {
    "serve": ("Run one edge node.", "smartedu serve --s3-endpoint http://storage:8333"),
    "up": ("Run the whole chain on this machine: storage, Redis, edge, sample lessons.", "smartedu up"),
    "publish": ("Package videos into lessons and publish them.", "smartedu publish lesson.mp4 --section curriculum"),
    "catalog": ("List and check what is published.", "smartedu catalog check"),
    "purge": ("Remove objects from all caches, or make them stale.", "smartedu purge --tag lesson-000001"),
    "counts": ("Read view counts.", "smartedu counts --top 10"),
}


class LateGroup(click.Group):
    """Loads a command's module only when that command is asked for, so that `--help` is quick."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with in_one_line():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edge.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (what, _) in COMMANDS.items()])
        with formatter.section("Examples"):
            for _, example in COMMANDS.values():
                formatter.write_text(example)


@click.group(
    cls=LateGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Each command's --help says more: smartedu serve --help",
)
@click.version_option(package_name="smartedu-edge", prog_name="smartedu")
def main() -> None:
    """Media delivery, caching and view counting at the edge of a national school platform."""
