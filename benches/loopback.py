"""What trials share that start processes on loopback: ports, and waiting for what comes about."""

import os
import socket
import sys
import time


def free_port():
    """A port below those that the system gives to others."""
    start = 20_000 + os.getpid() % 500 * 20
    free_port.next = getattr(free_port, "next", start) + 1
    for port in range(free_port.next, free_port.next + 2_000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                free_port.next = port
                return port
    sys.exit("no free port")


def wait_for(what, condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    sys.exit(f"{what} did not come about in {seconds:.0f} s")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
