"""How much later than the leader followers of a cold object get their first byte: `python -m loadtest.bench.followers`.

The origin sends 1 MB/s, so that the object is on its way for two seconds while everybody asks for it at once.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from loadtest.bench import servers
from loadtest.bench.client import Address

RATE_BYTES_S = 1_000_000
PIECE_BYTES = 20_000
OBJECT_BYTES = 2_000_000
DEADLINE_S = 30.0


async def _origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request after the other, each answered at the same leisurely pace."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: %d\r\n\r\n" % OBJECT_BYTES)
            for _ in range(OBJECT_BYTES // PIECE_BYTES):
                writer.write(bytes(PIECE_BYTES))
                await writer.drain()
                await asyncio.sleep(PIECE_BYTES / RATE_BYTES_S)
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        writer.close()


async def _first_byte(address: Address, path: str) -> float:
    """When the first byte of the body came; the rest is read, too. Raises AssertionError for a body that is short."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        first = await reader.readexactly(1)
        came = time.perf_counter()
        rest = await reader.read()
        while more := await reader.read():
            rest += more
        if len(first) + len(rest) != OBJECT_BYTES:
            raise click.ClickException(f"{len(rest) + 1} of {OBJECT_BYTES} bytes came")
        return came
    finally:
        writer.close()


async def _rounds(address: Address, port: int, clients: int, rounds: int) -> list[list[float]]:
    """Seconds after the leader, of each follower, per round."""
    origin = await asyncio.start_server(_origin, servers.HOST, port)
    async with origin:
        late: list[list[float]] = []
        for number in range(rounds):
            asking = (_first_byte(address, f"/film/{number}") for _ in range(clients))
            async with asyncio.timeout(DEADLINE_S):
                came = sorted(await asyncio.gather(*asking))
            late.append([moment - came[0] for moment in came[1:]])
        return late


@click.command()
@click.option(
    "--clients", type=click.IntRange(2, 2000), default=20, show_default=True, help="At once, leader included."
)
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="Cold objects.")
def followers(clients: int, rounds: int) -> None:
    """Print how much later than the leader the followers get their first byte."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartedu-followers-")))
        (port,) = servers.free_ports(1)
        edge = stack.enter_context(servers.proxy(directory / "edge", port, "256MiB"))
        late = asyncio.run(_rounds(edge.address("/"), port, clients, rounds))
    everybody = sorted(1000 * moment for one in late for moment in one)
    table = Table(title=f"first byte of {clients - 1} followers after the leader's, {rounds} cold objects at 1 MB/s")
    for name in ("median, ms", "99th percentile, ms", "last, ms"):
        table.add_column(name, justify="right")
    p99 = everybody[int(0.99 * (len(everybody) - 1))]
    table.add_row(f"{statistics.median(everybody):.2f}", f"{p99:.2f}", f"{everybody[-1]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    followers()
