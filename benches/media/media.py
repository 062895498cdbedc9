#!/usr/bin/env python3
"""Measures what anchored media costs, next to a bare UDP relay and rtpengine, side by side in one run.

    benches/media/media.py [--rounds 3] [--pairs 56] [--seconds 4] [--only TARGET]... [--out benches/media/RESULTS.md]

Synthetic WebRTC pages publish and play over real UDP on loopback: each publisher (2.5 Mbit/s VP8 and
opus) has one player, so that every packet passes what is measured twice, once towards the server and
once towards the player. It runs alone on the first core; pages, the simulated server and everything
else are on the second one. The targets take turns in each round:

relay      a loop of recvfrom and sendto that reads no packet: what the system calls alone cost
rtpengine  in user space; ends ICE, DTLS and SRTP on both sides, as the anchor does
holdfast   `holdfast run` with everything it does, signaling included

CPU is run time by the kernel's scheduler statistics (/proc/PID/task/TID/schedstat), memory is PSS
(smaps_rollup) before and after all but the first two pairs came. The delay is that of each single packet
between the loopback's two timestamps, on its way in and on its way out (tcpdump; a phase of its own). Sound
that left in one call with a picture cannot be seen there and counts as untold.
Installs rtpengine-daemon and tcpdump from Debian if they are missing (as root).
"""
import argparse
import collections
import datetime
import json
import os
import pathlib
import platform
import shutil
import select
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "compare"))
from compare import LOAD_CORE, PROXY_CORE, cpu_ns, free_port, install, pinned, pss_bytes, say, version, wait_for  # noqa: E402

TARGETS = ["relay", "rtpengine", "holdfast"]
HOLDFAST = ROOT / "target" / "release" / "holdfast"
LOAD = ROOT / "target" / "release" / "examples" / "media_load"
BITRATE_BPS = 2_500_000
# Pairs that come before memory is counted: what a process allocates once is not a stream's.
WARM_PAIRS = 2
# Most time that a packet may take.
DELAY_MAX_S = 1.0
# The packets of the load are shorter: a longer one in the capture is several that were sent in one call.
PACKET_BYTES_MAX = 1200
# Most packets in one call.
RUN_PACKETS_MAX = 64
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def wait_for_rtpengine(control):
    """It makes a certificate first."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ng:
        ng.settimeout(0.2)
        for _ in range(100):
            try:
                ng.sendto(b"1 d7:command4:pinge", ("127.0.0.1", control))
                ng.recv(1000)
                return
            except OSError:
                time.sleep(0.05)
    raise SystemExit("rtpengine does not answer")


class Load:
    """Pages with media, steered by lines."""

    def __init__(self, server, path):
        self.process = pinned(LOAD_CORE, LOAD, "load", f"127.0.0.1:{server}", path, BITRATE_BPS,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        answer = ready and self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the load does not answer `{line}`")
        return json.loads(answer)


class Setup:
    """The server, the target, and its load."""

    def __init__(self, name, directory):
        self.processes = []
        server, self.server_process = self.start_server()
        front, path = server, "direct"
        if name == "relay":
            control = free_port()
            self.target = self.keep(pinned(PROXY_CORE, LOAD, "relay", f"127.0.0.1:{control}", **QUIET))
            time.sleep(0.5)
            path = f"relay=127.0.0.1:{control}"
        elif name == "rtpengine":
            control = free_port()
            self.target = self.keep(pinned(
                PROXY_CORE, shutil.which("rtpengine"), "--config-file=none", "--foreground", "--log-stderr", "--log-level=3",
                "--table=-1", "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{control}", "--port-min=32768", "--port-max=60999",
                "--num-threads=1", "--timeout=60", f"--pidfile={directory}/rtpengine.pid", **QUIET))
            wait_for_rtpengine(control)
            path = f"rtpengine=127.0.0.1:{control}"
        else:
            front = free_port()
            self.target = self.keep(pinned(
                PROXY_CORE, HOLDFAST, "run", "--listen", f"127.0.0.1:{front}", "--upstream", f"ws://127.0.0.1:{server}",
                "--media-listen", "127.0.0.1:0", "--admin", "off", "--log-level", "error", **QUIET))
            wait_for(front)
        self.load = Load(front, path)
        self.keep(self.load.process)

    def start_server(self):
        port, control = free_port(), free_port()
        process = self.keep(pinned(LOAD_CORE, HOLDFAST, "simulate", "--listen", f"127.0.0.1:{port}",
                                   "--control", f"127.0.0.1:{control}", "--log-level", "error", **QUIET))
        wait_for(port)
        return port, process

    def keep(self, process):
        self.processes.append(process)
        return process

    def stop(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


# === Delay of single packets

def own_ports(pid):
    """The UDP ports of a process."""
    inodes = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            inodes.add(os.readlink(entry.path).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            pass
    ports = set()
    for table in ("udp", "udp6"):
        for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in inodes:
                ports.add(int(words[1].rsplit(":", 1)[1], 16))
    return ports


def capture(path, seconds):
    tcpdump = shutil.which("tcpdump", path=os.environ["PATH"] + ":/usr/sbin")
    process = pinned(LOAD_CORE, tcpdump, "-i", "lo", "-s", "60", "-B", "65536", "--time-stamp-precision=nano", "-Z", "root",
                     "-w", path, "udp", **QUIET)
    time.sleep(seconds + 0.5)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        raise SystemExit("tcpdump does not end") from None


def rtp_packets(path):
    """(time in s, source port, destination port, SSRC, timestamp, sequence number, is it a run) of each RTP packet. A
    run is what was sent in one call (UDP segmentation offload): only its first packet can be read here."""
    data = path.read_bytes()
    (magic,) = struct.unpack_from("<I", data)
    assert magic == 0xA1B23C4D, "a little-endian capture with nanoseconds"
    at = 24
    while at + 16 <= len(data):
        seconds, nanos, length, _ = struct.unpack_from("<IIII", data, at)
        at += 16
        # Ethernet, IPv4 without options, UDP, RTP that is not RTCP.
        if length >= 54 and data[at + 12:at + 14] == b"\x08\x00" and data[at + 14] == 0x45:
            source, destination, udp_bytes = struct.unpack_from(">HHH", data, at + 34)
            first, second, sequence, timestamp, ssrc = struct.unpack_from(">BBHII", data, at + 42)
            if 128 <= first <= 191 and not 64 <= (second & 0x7F) < 96:
                run = udp_bytes > PACKET_BYTES_MAX
                yield seconds + nanos / 1e9, source, destination, ssrc, timestamp, sequence, run
        at += length


def delays_us(path, ports):
    """The delay of each packet through the owner of the ports, and how many could not be told. Sources keep their
    random timestamps on the way (in their first epoch), which tells which source that goes out is which that came
    in; their sequence numbers have one distance all along. Of two that fit (the way back carries the same picture
    again) the sooner one is meant."""
    came, went = collections.defaultdict(dict), collections.defaultdict(dict)
    runs, by_timestamp = [], collections.defaultdict(list)
    for at, source, destination, ssrc, timestamp, sequence, run in rtp_packets(path):
        if destination in ports:
            came[ssrc, destination].setdefault(sequence, (at, timestamp))
        elif source in ports:
            went[ssrc, source].setdefault(sequence, at)
            by_timestamp[timestamp].append(((ssrc, source), sequence, at))
            if run:
                runs.append((went[ssrc, source], sequence, at))
    # A run reaches to the next packet that was seen.
    for flow, first, at in runs:
        for sequence in range(first + 1, first + RUN_PACKETS_MAX):
            if flow.setdefault(sequence & 0xFFFF, at) != at:
                break
    delays, untold = [], 0
    for flow in came.values():
        packets = sorted((at, sequence, timestamp) for sequence, (at, timestamp) in flow.items())[10:-10]
        # First packets of frames: of the others only the first one in a run is seen.
        firsts = [packet for before, packet in zip(packets, packets[1:]) if before[2] != packet[2]]
        votes = collections.defaultdict(list)
        for at, sequence, timestamp in firsts:
            for out, out_sequence, out_at in by_timestamp[timestamp]:
                if 0 <= out_at - at <= DELAY_MAX_S:
                    votes[out, (out_sequence - sequence) & 0xFFFF].append(out_at - at)
        if not votes:
            untold += len(packets)
            continue
        most = max(map(len, votes.values()))
        (out, distance), _ = min(((k, v) for k, v in votes.items() if len(v) > 0.9 * most), key=lambda kv: statistics.median(kv[1]))
        for at, sequence, _ in packets:
            out_at = went[out].get((sequence + distance) & 0xFFFF)
            if out_at is None or out_at < at:
                untold += 1
            else:
                delays.append((out_at - at) * 1e6)
    return sorted(delays), untold


def quantile(values, share):
    return values[min(int(len(values) * share), len(values) - 1)]


# === One target in one round

def measure(name, options, directory):
    setup = Setup(name, directory)
    try:
        setup.load.ask(f"pairs {WARM_PAIRS}")
        time.sleep(3)
        target = setup.target.pid
        memory = pss_bytes(target)
        streams = setup.load.ask(f"pairs {options.pairs - WARM_PAIRS}")["streams"]
        # Caches of a second fill, handshakes and first key frames pass.
        time.sleep(3)
        begun, before, cpu, rest = time.monotonic(), setup.load.ask("count"), cpu_ns(target), cpu_of_others(setup)
        time.sleep(options.seconds)
        took, after = time.monotonic() - begun, setup.load.ask("count")
        cpu, rest = (cpu_ns(target) - cpu) / 1e9, (cpu_of_others(setup) - rest) / 1e9
        memory = (pss_bytes(target) - memory) / (streams - 2 * WARM_PAIRS)
        sent, received = (after[key] - before[key] for key in ("sent", "received"))
        relayed = sent + received
        ports = own_ports(target)
        path = pathlib.Path(directory) / "capture.pcap"
        capture(path, options.seconds / 2)
        delays, unmatched = delays_us(path, ports)
        path.unlink()
    finally:
        setup.stop()
    return {
        "packets relayed per second, both directions": relayed / took,
        "of them towards the server": sent / took,
        "of them towards players": received / took,
        "lost on the way (%)": 100 * (after["missing"] - before["missing"]) / max(sent, 1),
        "core used (%)": 100 * cpu / took,
        "packets per second and core": relayed / cpu,
        "CPU per packet (µs)": 1e6 * cpu / relayed,
        "core per stream of 2.5 Mbit/s (%)": 100 * cpu / took / streams,
        "memory per stream (KB)": memory / 1024,
        "added delay p50 (µs)": quantile(delays, 0.5),
        "added delay p99 (µs)": quantile(delays, 0.99),
        "added delay p99.9 (µs)": quantile(delays, 0.999),
        "packets timed": len(delays),
        "of them lost or untold": unmatched,
        "(the other core: pages and server, %)": 100 * rest / took,
    }


def cpu_of_others(setup):
    return cpu_ns(setup.server_process.pid) + cpu_ns(setup.load.process.pid)


def shown(value):
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def table(rounds, targets, options):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    rtpengine = version("rtpengine", "--version").removeprefix("Version: ")
    lines = [
        "# Cost of anchored media",
        "",
        "Written by `benches/media/media.py`; do not edit. What is measured and how is told at its top.",
        "",
        f"{datetime.date.today()}, {cpu}, {os.cpu_count()} cores, Linux {platform.release()}; rtpengine {rtpengine} in user space; "
        f"{version(str(HOLDFAST), '--version')}. {2 * options.pairs} streams ({options.pairs} published, {options.pairs} played) of "
        f"{BITRATE_BPS / 1e6:g} Mbit/s VP8 and opus. {len(rounds)} rounds; medians, and in brackets the smallest and the largest.",
        "",
        f"| | {' | '.join(targets)} |",
        "|---" * (len(targets) + 1) + "|",
    ]
    for row in rounds[0][targets[0]]:
        cells = []
        for target in targets:
            values = [one[target][row] for one in rounds if target in one]
            spread = f" ({shown(min(values))}–{shown(max(values))})" if len(values) > 1 else ""
            cells.append(shown(statistics.median(values)) + spread)
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--pairs", type=int, default=56, help="publishers, each with one player")
    arguments.add_argument("--seconds", type=float, default=4)
    arguments.add_argument("--only", action="append", choices=TARGETS)
    arguments.add_argument("--no-build", action="store_true")
    arguments.add_argument("--out", type=pathlib.Path, default=HERE / "RESULTS.md")
    options = arguments.parse_args()
    install({"rtpengine": "rtpengine-daemon", "tcpdump": "tcpdump"})
    if not options.no_build:
        say("building")
        subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "holdfast", "--example", "media_load"], cwd=ROOT, check=True)
    targets = options.only or TARGETS
    rounds = []
    with tempfile.TemporaryDirectory(prefix="holdfast-media-") as directory:
        for number in range(options.rounds):
            one = {}
            for target in targets:
                say(f"round {number + 1} of {options.rounds}: {target}")
                one[target] = measure(target, options, directory)
            rounds.append(one)
            options.out.write_text(table(rounds, targets, options))
    print(options.out.read_text())


if __name__ == "__main__":
    main()
