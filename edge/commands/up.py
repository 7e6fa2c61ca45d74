"""`smartedu up`: storage, Redis, edge and sample lessons on this machine, stopped together.

Everything runs as a supervised child (`deploy.local`); this process holds them, prints what a person needs to know and
waits for Ctrl-C. Secrets reach the children through their environment and private files, never the command line.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import sysconfig
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from edge.commands.one_line import WrongUsage

if TYPE_CHECKING:
    from config.settings import Address
    from deploy.local.child import Program
    from deploy.local.stack import Stack

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - a listener there takes the port of every address
EXAMPLE = """\b
Example:
  smartedu up
  smartedu up --state /var/lib/smartedu --listen 0.0.0.0:8080 --workers 4

\b
Everything it keeps is under the state directory; run again, it finds its data. Ctrl-C stops all it started.
Where the servers are and how to reach them is in STATE/stack.json."""

NODE = "local"
DRAIN_S = 10
STOP_MARGIN_S = 5
SAMPLE_TRIES = 3
SAMPLE_PAUSE_S = 5.0
# Written beside the storage's data, so that it goes when the data goes.
SAMPLES_MARK = Path("seaweed/samples-published")
VERSION_KEY = "catalog/version.json"

T = TypeVar("T")


class AddressParameter(click.ParamType["Address"]):
    """HOST:PORT, as the edge's settings read it."""

    name = "HOST:PORT"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        from pydantic import TypeAdapter

        from config.settings import AddressSetting

        try:
            address: Address = TypeAdapter(AddressSetting).validate_python(value)
            if not address.port:
                raise ValueError("port 0 could not be told to anybody")
        except ValueError:
            flag = param.opts[0] if param is not None else "address"
            allowed = "HOST:PORT with a port from 1 to 65535, an IPv6 host in brackets"
            raise WrongUsage(f"smartedu up: {flag}: {value!r} is not allowed; allowed: {allowed}") from None
        return address


class Refused(click.ClickException):
    """One line on standard error, exit status 1."""

    def show(self, file: object = None) -> None:
        click.echo(f"smartedu up: {self.message}", err=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    state: Path
    listen: Address
    admin: Address
    workers: int | None
    redis_server: bool
    samples: bool
    sample_flags: tuple[str, ...]

    @property
    def portal(self) -> str:
        """The edge as this machine's browser reaches it."""
        return _reachable(self.listen)

    @property
    def admin_url(self) -> str:
        """The admin listener as this machine reaches it."""
        return _reachable(self.admin)


@click.command(epilog=EXAMPLE)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=".smartedu",
    envvar="SMARTEDU_STATE",
    show_default=True,
    help="Directory for all data, logs and secrets.",
)
@click.option(
    "--listen", type=AddressParameter(), default="127.0.0.1:8080", show_default=True, help="The edge's public listener."
)
@click.option(
    "--admin", type=AddressParameter(), default="127.0.0.1:9090", show_default=True, help="The edge's admin listener."
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Worker processes of the edge; default: one per core.")
@click.option("--redis-server", is_flag=True, help="Run redis-server from PATH instead of the Valkey that is shipped.")
@click.option("--samples/--no-samples", default=True, help="Publish the sample lessons if there are none.")
@click.option("--sample-flag", "sample_flags", multiple=True, hidden=True, help="For `smartedu publish --samples`.")
def up(
    state: Path,
    listen: Address,
    admin: Address,
    workers: int | None,
    redis_server: bool,
    samples: bool,
    sample_flags: tuple[str, ...],
) -> None:
    """Run the whole chain on this machine: storage, Redis, edge, sample lessons."""
    from deploy.local.child import StartError
    from deploy.local.stack import OccupiedError

    hosts = {listen.host, admin.host}
    if listen.port == admin.port and (len(hosts) == 1 or hosts & _EVERYWHERE):
        raise WrongUsage(f"smartedu up: --listen {listen} and --admin {admin} are one; allowed: two addresses")
    plan = Plan(state.absolute(), listen, admin, workers, redis_server, samples, sample_flags)
    try:
        asyncio.run(_run(plan))
    except (OccupiedError, StartError) as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Refused(f"state directory {state} cannot be used: {error}") from None


async def _run(plan: Plan) -> None:
    from deploy.local.stack import StateLock

    stopping = _stop_event()
    with StateLock(plan.state) as lock:
        await _predecessor_gone(plan)
        _refuse_busy(plan)
        lock.sign(f"`smartedu up` (process {os.getpid()}, {plan.portal})")
        await _Until(stopping).either(_serve(plan))
        click.echo("stopped")


async def _serve(plan: Plan) -> None:
    """Start everything and keep it until cancelled."""
    from deploy.local.stack import Stack
    from deploy.local.valkey import redis_server

    began = time.monotonic()
    async with Stack(plan.state, click.echo, redis_server=redis_server() if plan.redis_server else None) as stack:
        click.echo(f"starting storage, cache and counters in {plan.state}")
        try:
            await stack.start()
            click.echo("starting the edge")
            await stack.put_on_top(_edge(plan, stack), {"edge": plan.portal, "admin": plan.admin_url})
            click.echo(_addresses(plan, stack))
            click.echo(f"ready in {time.monotonic() - began:.1f} s; Ctrl-C stops everything")
            if plan.samples:
                await _publish_samples(plan, stack)
            await asyncio.Event().wait()
        finally:
            click.echo("stopping")


class _Until:
    """Runs something until an event happens, then cancels it and waits for its end."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    async def either(self, work: Awaitable[T]) -> T | None:
        """The result of `work`, None when the event came first. What `work` raises is raised."""
        running = asyncio.ensure_future(work)
        waiting = asyncio.create_task(self._event.wait())
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            running.cancel()
            await asyncio.wait({running})
        return None if running.cancelled() else running.result()


def _stop_event() -> asyncio.Event:
    """Set by the first Ctrl-C, SIGTERM or SIGHUP. A second one ends this process at once: the leashes do the rest."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    return stopping


async def _predecessor_gone(plan: Plan) -> None:
    """Wait while the edge of an earlier run that was killed just now is still ending: it holds the port."""
    deadline = time.monotonic() + STOP_MARGIN_S
    while time.monotonic() < deadline and _has_edge(plan.state):  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.05)


def _has_edge(state: Path) -> bool:
    """True when any process of this machine was started on this state's edge directory (Linux; False elsewhere)."""
    argument = f"\0{_data_dir(state)}\0".encode()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if argument in file.read_bytes():
                return True
    return False


def _data_dir(state: Path) -> str:
    return f"--data-dir={state / 'edge'}"


def _refuse_busy(plan: Plan) -> None:
    from deploy.local.ports import why_taken

    for flag, address in (("--listen", plan.listen), ("--admin", plan.admin)):
        reason = why_taken(address.host, address.port)
        if reason is not None:
            raise Refused(
                f"cannot listen on {address} ({reason[:1].lower()}{reason[1:]}); "
                f"free it, or give another address with {flag} HOST:PORT"
            )


def _edge(plan: Plan, stack: Stack) -> Program:
    from deploy.local.child import Program
    from deploy.local.probe import http_status

    async def ready() -> bool:
        return await http_status(f"{plan.portal}/healthz") == 200

    flags = {
        "listen": str(plan.listen),
        "admin": str(plan.admin),
        "origin": f"s3://{stack.storage.bucket}",
        "s3-endpoint": stack.storage.endpoint,
        "province": "00",
        "node": NODE,
        "drain-s": str(DRAIN_S),
    } | ({"workers": str(plan.workers)} if plan.workers else {})
    return Program(
        name="edge",
        argv=(_smartedu(), "serve", _data_dir(plan.state), "--site", *(f"--{k}={v}" for k, v in flags.items())),
        env=_environment(stack) | {"SMARTEDU_REDIS": stack.cache.url, "SMARTEDU_COUNTERS_REDIS": stack.counters.url},
        cwd=Path.cwd(),
        log=plan.state / "log" / "edge.log",
        ready=ready,
        ready_within_s=60,
        stop_within_s=DRAIN_S + STOP_MARGIN_S,
        # When we are killed its workers go at once, too: storage and Redis are gone, and counts are in the journal.
        whole_group=True,
    )


async def _publish_samples(plan: Plan, stack: Stack) -> None:
    """Publish the sample lessons in the background unless they are there. Failing is reported, not fatal."""
    from deploy.local.child import Job, Program, how

    mark = plan.state / SAMPLES_MARK
    if mark.exists() and await stack.storage.status("HEAD", f"/{stack.storage.bucket}/{VERSION_KEY}") == 200:
        click.echo("sample lessons are there from an earlier run")
        return
    program = Program(
        name="samples",
        argv=(_smartedu(), "publish", "--samples", *plan.sample_flags),
        env=_environment(stack) | {"SMARTEDU_STATE": str(plan.state)},
        cwd=Path.cwd(),
        log=plan.state / "log" / "samples.log",
        whole_group=True,
    )
    click.echo("publishing the sample lessons in the background")
    for attempt in range(1, SAMPLE_TRIES + 1):
        code = await Job(program, partial(_show_progress, "samples")).run()
        if code == 0:
            mark.touch()
            click.echo("all sample lessons are published")
            return
        click.echo(f"publishing the sample lessons failed ({how(code)}), try {attempt} of {SAMPLE_TRIES}", err=True)
        await asyncio.sleep(SAMPLE_PAUSE_S)
    click.echo(f"no more tries; see {program.log}; `smartedu up` run again goes on where it stopped", err=True)


def _show_progress(name: str, line: str) -> None:
    click.echo(f"{name}: {line}")


def _environment(stack: Stack) -> dict[str, str]:
    """Ours, with the storage's identity instead of whatever AWS setting the user has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    kept.pop("SMARTEDU_CONFIG", None)  # of another node
    key = stack.storage.key
    return kept | {"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret, "PYTHONUNBUFFERED": "1"}


def _smartedu() -> str:
    """Our own command, of the environment that we run in."""
    return shutil.which("smartedu", path=sysconfig.get_path("scripts")) or sys.argv[0]


def _reachable(address: Address) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    return f"http://{address._replace(host=host)}"


def _addresses(plan: Plan, stack: Stack) -> str:
    lines = [
        ("portal", plan.portal + "/"),
        ("board", plan.portal + "/board"),
        ("admin", plan.admin_url + "/metrics"),
        ("storage", f"{stack.storage.endpoint} (S3, bucket {stack.storage.bucket})"),
        ("keys", f"{stack.state / 'stack.json'}, {stack.storage.credentials_file}"),
        ("logs", str(stack.state / "log")),
    ]
    return "\n".join(["", *(f"  {name:<8} {value}" for name, value in lines), ""])
