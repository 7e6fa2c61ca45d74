"""The network that is measured on: a loopback of the benchmark's own, with a TCP that sends when it may.

A machine may prefer BBR, which sends by the clock: on a loopback those are twenty thousand timer interrupts a second,
and the more a server hands over at once, the more of them fall on it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
# The usual one, and what every kernel has; on a loopback, where nothing is lost, they are the same.
_UNPACED = ("cubic", "reno")
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_SIOCSIFFLAGS = 0x8914  # linux/sockios.h
_IFF_UP = 1  # linux/if.h


def claim() -> str:
    """Leave the machine's network for an empty one, where that is allowed; in words, what is measured on then.

    It holds for this thread and what it starts.
    """
    whose = "a loopback of its own" if _new_network() else "the machine's loopback"
    return f"{whose} with TCP {CONTROL.read_text().strip()}"


def _new_network() -> bool:
    if os.geteuid() != 0 or ctypes.CDLL(None).unshare(_CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    for name in _UNPACED:
        with suppress(OSError):  # a machine may keep some to itself
            CONTROL.write_text(name)
            break
    return True
