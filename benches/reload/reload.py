#!/usr/bin/env python3
"""Reloads under load: a configuration that changes a thousand times while sessions and media go on.

    python3 benches/reload/reload.py                        1,000 reloads, 2,000 sessions (half of them wss), 50 streams
    python3 benches/reload/reload.py --reloads 50 --sessions 100 --streams 8

Each reload changes something else in turn: a node comes, its weight changes, it goes; a listener opens and closes; the
certificate is another; limits, rules, the modes of an app and the log level change; nothing changes; the file is broken and
has to be refused. Every hundred reloads a node that has sessions goes and comes back: its sessions move.

Needs a release build (cargo build --release), or --binary. Prints a table; with --json one line. The exit code is 1 where a
session was lost, a picture stands still, a reload did what it should not, or memory grew. All on loopback."""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches"))

from loopback import free_port, listens, wait_for  # noqa: E402: beside the folder of this one

# What a reload may leave behind at most once the first hundred have filled what is kept (names, counts, the log's ring).
GROWTH_MAX = 1.10
REFUSED = 78


class Clients:
    """A `holdfast load` that stays until it is told to go."""

    def __init__(self, trial, name, url, *words):
        self.log = trial.folder / f"{name}.log"
        self.out = trial.folder / f"{name}.json"
        command = [trial.args.binary, "load", url, "--json", "--hold", "7200", *words]
        self.process = subprocess.Popen(command, stdout=open(self.out, "wb"), stderr=open(self.log, "wb"))
        trial.processes.append(self.process)

    def until(self, pattern):
        def last():
            lines = [line for line in self.log.read_text(errors="replace").splitlines() if "started" in line]
            return lines and re.search(pattern, lines[-1])
        wait_for(f"{self.log.stem}: {pattern}", last, 180)

    def summary(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=120)
        return json.loads(self.out.read_text())


class Trial:
    def __init__(self, args):
        self.args, self.folder, self.processes = args, Path(tempfile.mkdtemp(prefix="holdfast-reload-")), []
        self.ports = {name: free_port() for name in ("a", "b", "c", "d", "ws", "wss", "extra", "admin", "media")}
        # Media takes a port for each worker, counted up.
        free_port.next += 8
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST_")}
        self.environment["XDG_RUNTIME_DIR"] = str(self.folder)

    def spawn(self, name, *words):
        log = open(self.folder / f"{name}.log", "ab")
        process = subprocess.Popen([self.args.binary, *words], stdout=log, stderr=log, env=self.environment)
        self.processes.append(process)
        return process

    def start(self):
        for number in (1, 2):
            subprocess.run([self.args.binary, "certificate", "--directory", self.folder / f"pair-{number}"],
                           check=True, stdout=subprocess.DEVNULL, env=self.environment)
        # Clients trust both: the second comes while they are connected.
        (self.folder / "trusted.pem").write_bytes(b"".join(
            (self.folder / f"pair-{number}" / "cert.pem").read_bytes() for number in (1, 2)))
        self.show_pair(1)
        for name in "abcd":
            port = self.ports[name]
            self.spawn(f"node-{name}", "simulate", "--listen", f"127.0.0.1:{port}",
                       "--control", f"127.0.0.1:{free_port()}", "--set", "media=real")
            wait_for(f"node {name}", lambda port=port: listens(port))
        self.write()
        self.proxy = self.spawn("proxy", "run", "--config", str(self.folder / "holdfast.toml"))
        wait_for("the proxy", lambda: listens(self.ports["wss"]) and listens(self.ports["admin"]))

    def show_pair(self, number):
        for name in ("cert.pem", "key.pem"):
            shutil.copy(self.folder / f"pair-{number}" / name, self.folder / f".{name}")
            os.rename(self.folder / f".{name}", self.folder / name)

    def write(self, nodes="abc", weight=1, extra=False, sessions_max=10_000, deny="192.0.2.0/24", mode="auto",
              level="info", broken=False):
        listen = [f"ws://127.0.0.1:{self.ports['ws']}", f"wss://127.0.0.1:{self.ports['wss']}"]
        if extra:
            listen.append(f"ws://127.0.0.1:{self.ports['extra']}")
        text = f"""[listen]
address = {json.dumps(listen)}
tls_cert = "{self.folder}/cert.pem"
tls_key = "{self.folder}/key.pem"
deny = ["{deny}"]
[limits]
sessions_max = {sessions_max}
address_sessions_max = 100000
[admin]
listen = "127.0.0.1:{self.ports['admin']}"
[media]
listen = "127.0.0.1:{self.ports['media']}"
[log]
level = "{level}"
[app."loadApp"]
restore_mode = "{mode}"
"""
        for name in nodes:
            text += f'[[upstream.node]]\nname = "{name}"\nurl = "ws://127.0.0.1:{self.ports[name]}"\nweight = {weight if name == "c" else 1}\n'
        if broken:
            text += "[upstream\n"
        path = self.folder / ".holdfast.toml"
        path.write_text(text)
        os.rename(path, self.folder / "holdfast.toml")

    def reload(self):
        command = [self.args.binary, "reload", "--admin", f"127.0.0.1:{self.ports['admin']}"]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=60)

    def resident_kb(self):
        status = Path(f"/proc/{self.proxy.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def ended(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith("holdfast_sessions_total{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def nodes(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}/v1/nodes", timeout=10) as answer:
            return {node["name"]: node for node in json.loads(answer.read())["nodes"]}

    def end(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
                process.wait()
        if not self.args.keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def changes(trial, number):
    """The change of this reload: its name, and the code that `holdfast reload` should end with."""
    if number % 100 == 50:
        trial.write(nodes="ab")
        return "a node with sessions goes", 0
    in_turn = [
        ("a node comes", dict(nodes="abcd")),
        ("a weight changes", dict(weight=2)),
        ("a listener opens", dict(extra=True)),
        ("the certificate is another", None),
        ("a limit changes", dict(sessions_max=9_000 + number)),
        ("a rule changes", dict(deny="198.51.100.0/24")),
        ("an app changes", dict(mode="notify")),
        ("the log level changes", dict(level="warn")),
        ("nothing changes", dict(level="warn")),
        ("the file is broken", dict(broken=True)),
    ]
    name, how = in_turn[number % len(in_turn)]
    if how is None:
        trial.show_pair(1 + number // len(in_turn) % 2)
        trial.write()
    else:
        trial.write(**how)
    return name, REFUSED if name == "the file is broken" else 0


def run(args):
    trial = Trial(args)
    wrong = []
    try:
        trial.start()
        half = args.sessions // 2
        streams = Clients(trial, "streams", f"ws://127.0.0.1:{trial.ports['ws']}", "--scenario", "publish-play",
                          "--media", "real", "--sessions", str(args.streams), "--players", "1", "--video-kbps", "300",
                          "--ramp", "20")
        streams.until(rf"\b{args.streams // 2} of {args.streams // 2} pictures move")
        plain = Clients(trial, "ws", f"ws://127.0.0.1:{trial.ports['ws']}", "--sessions", str(half), "--ramp", "200")
        tls = Clients(trial, "wss", f"wss://localhost:{trial.ports['wss']}", "--sessions", str(half), "--ramp", "200",
                      "--ca", str(trial.folder / "trusted.pem"))
        for clients in (plain, tls):
            clients.until(rf"\b{half} open")
        said, resident, slowest, before = {}, [], 0.0, time.monotonic()
        for number in range(args.reloads):
            what, wanted = changes(trial, number)
            begin = time.monotonic()
            done = trial.reload()
            slowest = max(slowest, time.monotonic() - begin)
            if done.returncode != wanted:
                wrong.append(f"reload {number} ({what}) ended with {done.returncode}: {done.stdout}{done.stderr}")
            said.setdefault(what, 0)
            said[what] += 1
            if what == "a node with sessions goes":
                # Its sessions have to be elsewhere before it may come back.
                wait_for("node c is empty and gone", lambda: "c" not in trial.nodes(), 180)
            if (number + 1) % max(args.reloads // 10, 1) == 0:
                resident.append(trial.resident_kb())
        took = time.monotonic() - before
        summaries = {clients.log.stem: clients.summary() for clients in (streams, plain, tls)}
        for name, summary in summaries.items():
            if summary["lost"] or summary["established_again"] or summary["survived"] != summary["started"]:
                wrong.append(f"{name}: {summary}")
        media = summaries["streams"]["media"]
        if media["players_moving"] != args.streams // 2 or media["frames_missing"] or media["gaps"]:
            wrong.append(f"pictures: {media}")
        if len(resident) > 2 and resident[-1] > resident[1] * GROWTH_MAX:
            wrong.append(f"memory grew: {resident} KB")
        return {"reloads": args.reloads, "took_s": round(took, 1), "slowest_ms": round(slowest * 1000), "said": said,
                "resident_mb": [round(kb / 1024, 1) for kb in resident],
                "sessions": {name: {key: summary[key] for key in ("started", "survived", "lost", "established_again")}
                             for name, summary in summaries.items()},
                "pictures": {key: media[key] for key in ("players", "players_moving", "frames_received",
                                                         "frames_missing", "gaps")},
                "wrong": wrong}
    finally:
        trial.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "target/release/holdfast"))
    parser.add_argument("--reloads", type=int, default=1_000)
    parser.add_argument("--sessions", type=int, default=2_000)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the logs in their folder")
    args = parser.parse_args()
    result = run(args)
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{result['reloads']} reloads in {result['took_s']} s, the slowest {result['slowest_ms']} ms")
        for what, count in result["said"].items():
            print(f"  {count:5}  {what}")
        print(f"resident, each tenth of them: {', '.join(map(str, result['resident_mb']))} MB")
        for name, sessions in result["sessions"].items():
            print(f"{name}: {sessions}")
        print(f"pictures: {result['pictures']} (gaps: of half a second or more)")
        for one in result["wrong"]:
            print(f"WRONG: {one}")
    sys.exit(1 if result["wrong"] else 0)


main()
