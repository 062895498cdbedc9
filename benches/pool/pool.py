#!/usr/bin/env python3
"""A pool under an operator and under faults: simulated nodes, the proxy, publishers and their players with real
media, and what the viewers saw of it.

    python3 benches/pool/pool.py drain        each node in turn is drained, restarted and used again
    python3 benches/pool/pool.py rebalance    signaling sessions are evened out after a node's return
    python3 benches/pool/pool.py freeze       each node in turn is stopped (SIGSTOP) and goes on
    python3 benches/pool/pool.py kill         each node in turn is killed (SIGKILL) and started again
    python3 benches/pool/pool.py blackout     all nodes are killed at once and come back one after the other

Needs a release build (cargo build --release), or --binary. Prints a table; with --json one line. The exit code is 1
where a promise of the scenario is broken. All on loopback."""

import argparse
import json
import os
import random
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

NODES = ["a", "b", "c"]


class Node:
    """A simulated server as a process of its own."""

    def __init__(self, farm, name, media):
        self.farm, self.name, self.media, self.port = farm, name, media, free_port()
        self.start()

    def start(self):
        self.spawn()
        wait_for(f"node {self.name}", lambda: listens(self.port))

    def spawn(self):
        self.process = self.farm.spawn(
            f"node-{self.name}", "simulate", "--listen", f"127.0.0.1:{self.port}",
            "--control", f"127.0.0.1:{free_port()}", "--set", f"media={self.media}",
        )

    def kill(self):
        self.process.kill()
        self.process.wait()


class Farm:
    """Nodes, the proxy before them and its clients, in a folder of its own."""

    def __init__(self, args, media):
        self.args, self.folder = args, Path(tempfile.mkdtemp(prefix="holdfast-pool-"))
        self.processes, self.logs = [], []
        try:
            self.nodes = {name: Node(self, name, media) for name in NODES}
            self.client_port, self.admin_port = free_port(), free_port()
            upstream = [f"--upstream={name}=ws://127.0.0.1:{node.port}" for name, node in self.nodes.items()]
            config = self.folder / "holdfast.toml"
            # As by default: the figures are of this policy.
            config.write_text('[upstream]\npolicy = "least_sessions"\n')
            self.spawn(
                "proxy", "run", "--config", str(config), "--log-level", "debug" if self.args.keep else "info", "--listen", f"127.0.0.1:{self.client_port}", "--admin", self.admin,
                "--media-listen", f"127.0.0.1:{free_port()}", *upstream,
            )
            wait_for("the proxy", lambda: listens(self.client_port))
        except BaseException:
            self.end()
            raise

    @property
    def admin(self):
        return f"127.0.0.1:{self.admin_port}"

    def spawn(self, name, *words):
        log = open(self.folder / f"{name}.log", "ab")
        self.logs.append(log)
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.folder)}
        environment.pop("HOLDFAST_ADMIN_TOKEN", None)
        process = subprocess.Popen([self.args.binary, *words], stdout=log, stderr=log, env=environment)
        self.processes.append(process)
        return process

    def order(self, *words):
        """A command of an operator: its answer in JSON. It fails where its wish is not fulfilled."""
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.folder)}
        environment.pop("HOLDFAST_ADMIN_TOKEN", None)
        command = [self.args.binary, *words, "--json", "--admin", self.admin]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        if done.returncode != 0:
            sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=10) as answer:
            return answer.read().decode()

    def metric(self, name, **labels):
        total = 0.0
        for line in self.get("/metrics").splitlines():
            found = re.fullmatch(rf"{name}(\{{(.*)\}})? (\S+)", line)
            if found and all(f'{key}="{value}"' in (found[2] or "") for key, value in labels.items()):
                total += float(found[3])
        return total

    def nodes_told(self):
        return {node["name"]: node for node in json.loads(self.get("/v1/nodes"))["nodes"]}

    def load(self, *words):
        """Clients until they are told to go; what they saw."""
        out = open(self.folder / "load.json", "wb")
        self.logs.append(out)
        log = open(self.folder / "load.log", "wb")
        self.logs.append(log)
        command = [self.args.binary, "load", f"ws://127.0.0.1:{self.client_port}", "--json", "--hold", "3600", *words]
        self.clients = subprocess.Popen(command, stdout=out, stderr=log)
        self.processes.append(self.clients)

    def loaded(self, pattern):
        """Waits until the last line of progress matches."""
        def last():
            text = (self.folder / "load.log").read_text(errors="replace")
            lines = [line for line in text.splitlines() if "started" in line]
            return lines and re.search(pattern, lines[-1])
        return wait_for(f"clients ({pattern})", last, 120)

    def summary(self):
        self.clients.send_signal(signal.SIGINT)
        self.clients.wait(timeout=60)
        return json.loads((self.folder / "load.json").read_text())

    def end(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        for log in self.logs:
            log.close()
        if not self.args.keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def say(args, text):
    if not args.json:
        print(text, flush=True)


def streams(farm):
    """Publishers with players, all of which see moving pictures."""
    args = farm.args
    farm.load("--scenario", "publish-play", "--media", "real", "--sessions", str(args.sessions),
              "--players", str(args.players), "--ramp", "20")
    players = args.sessions // (args.players + 1) * args.players
    farm.loaded(rf"\b{players} of {players} pictures move")
    return players


def gaps(farm):
    """Gaps as viewers see them, in milliseconds: how many, and the bounds of the middle, of 99 % and of all."""
    counts = {}
    for line in farm.get("/metrics").splitlines():
        found = re.fullmatch(r'holdfast_media_gap_seconds_bucket\{(.*)\} (\S+)', line)
        if found and 'kind="play"' in found[1]:
            bound = re.search(r'le="([^"]+)"', found[1])[1]
            counts[float(bound.replace("+Inf", "inf"))] = float(found[2])
    total = max(counts.values(), default=0.0)
    def within(share):
        return next((bound for bound in sorted(counts) if total and counts[bound] >= share * total), 0.0)
    return {"gaps": int(total), **{f"p{name}_ms_at_most": within(share) * 1_000
                                   for name, share in (("50", 0.5), ("99", 0.99), ("100", 1.0))}}


def unseen(summary):
    """Events that a client saw and should not have."""
    return {name: summary[name] for name in ("lost", "established_again", "reported", "refused")}


def drain(farm):
    streams(farm)
    rows, began = [], farm.metric("holdfast_session_moves_total", outcome="done")
    for _ in range(farm.args.rounds):
        for name, node in farm.nodes.items():
            drained = farm.order("drain", name, "--wait", "--rate", str(farm.args.rate))
            node.kill()
            node.start()
            farm.order("undrain", name)
            farm.order("rebalance", "--wait", "--rate", str(farm.args.rate))
            rows.append({"node": name, **{key: drained[key] for key in ("moved", "forced", "failed", "lasted_ms")}})
            say(farm.args, f"  {rows[-1]}")
    farm.loaded("pictures move")
    time.sleep(6)  # The media workers tell their gaps every five seconds.
    moves = int(farm.metric("holdfast_session_moves_total", outcome="done") - began)
    seen = gaps(farm)
    summary = farm.summary()
    broken = []
    if any(unseen(summary).values()):
        broken.append(f"clients saw {unseen(summary)}")
    if any(row["forced"] for row in rows):
        broken.append("sessions were forced")
    media = summary["media"]
    if media["players_moving"] != media["players"]:
        broken.append(f"{media['players_moving']} of {media['players']} pictures move at the end")
    if seen["p50_ms_at_most"] > 80 or seen["p99_ms_at_most"] > 250 or seen["p100_ms_at_most"] > 500:
        broken.append(f"gaps: {seen}")
    return {"moves": moves, **seen, **unseen(summary), "packets_missing": media["packets_missing"],
            "frames_missing": media["frames_missing"], "pictures": media["players_moving"]}, broken


def rebalance(farm):
    sessions = farm.args.sessions
    farm.load("--scenario", "idle", "--sessions", str(sessions), "--ramp", "500")
    farm.loaded(rf"\b{sessions} open")
    farm.order("drain", "a", "--wait", "--rate", "100000")
    farm.order("undrain", "a")
    before = {name: node["sessions"] for name, node in farm.nodes_told().items()}
    began = time.monotonic()
    relieved = farm.order("rebalance", "--wait", "--rate", str(farm.args.rate))["relieved"]
    seconds = time.monotonic() - began
    after = {name: node["sessions"] for name, node in farm.nodes_told().items()}
    moved = sum(one["moved"] for one in relieved)
    summary = farm.summary()
    broken = []
    if any(unseen(summary).values()):
        broken.append(f"clients saw {unseen(summary)}")
    # A tenth of a second's worth may go at once, per node that is relieved.
    if moved > farm.args.rate * (seconds + 0.2) + 2:
        broken.append(f"{moved} moved in {seconds:.1f} s at {farm.args.rate}/s")
    if max(after.values()) - min(after.values()) > 3:
        broken.append(f"not even: {after}")
    return {"sessions": sessions, "before": before, "after": after, "moved": moved,
            "per_second": round(moved / seconds, 1), **unseen(summary)}, broken


def faults(strike, heal):
    def run(farm):
        streams(farm)
        rows = []
        for name, node in farm.nodes.items():
            there = farm.nodes_told()[name]["sessions"]
            strike(node)
            began = time.monotonic()
            told = None
            while time.monotonic() - began < 30:
                node_told = farm.nodes_told()[name]
                if told is None and node_told["state"] != "up":
                    told = time.monotonic() - began
                still = int(farm.metric("holdfast_sessions_in_outage")) if there else 0
                if told is not None and still == 0 and farm.nodes_told()[name]["sessions"] == 0:
                    break
                time.sleep(0.1)
            rows.append({"node": name, "sessions": there, "told_after_s": told and round(told, 1),
                         "left_after_s": round(time.monotonic() - began, 1)})
            say(farm.args, f"  {rows[-1]}")
            heal(node)
            wait_for("the node's return", lambda: farm.nodes_told()[name]["state"] == "up", 60)
        time.sleep(6)
        seen, summary = gaps(farm), farm.summary()
        media = summary["media"]
        broken = []
        if any(unseen(summary).values()):
            broken.append(f"clients saw {unseen(summary)}")
        if media["players_moving"] != media["players"]:
            broken.append(f"{media['players_moving']} of {media['players']} pictures move at the end")
        return {"nodes": rows, **seen, "longest_still_ms": media["gap"]["max_ms"], **unseen(summary),
                "pictures": media["players_moving"]}, broken
    return run


def blackout(farm):
    players, rows = streams(farm), []
    for pause in (0.0, 0.1, 0.5, 0.0, 0.1):
        for node in farm.nodes.values():
            node.kill()
        wait_for("the outage", lambda: int(farm.metric("holdfast_sessions_in_outage")) == farm.args.sessions)
        # All are started, and then become ready one after the other.
        for node in random.sample(list(farm.nodes.values()), len(farm.nodes)):
            node.spawn()
            time.sleep(pause)
        began = time.monotonic()
        wait_for("the end of the outage", lambda: not int(farm.metric("holdfast_sessions_in_outage")))
        sessions = time.monotonic() - began
        time.sleep(1)  # For the clients to note that pictures stand still.
        farm.loaded(rf"\b{players} of {players} pictures move")
        rows.append({"apart_s": pause, "sessions_after_s": round(sessions, 1),
                     "pictures_after_s": round(time.monotonic() - began, 1)})
        say(farm.args, f"  {rows[-1]}")
    summary = farm.summary()
    media = summary["media"]
    broken = [f"clients saw {unseen(summary)}"] if any(unseen(summary).values()) else []
    if media["players_moving"] != media["players"]:
        broken.append(f"{media['players_moving']} of {media['players']} pictures move at the end")
    return {"blackouts": rows, "longest_still_ms": media["gap"]["max_ms"], **unseen(summary),
            "pictures": media["players_moving"]}, broken


SCENARIOS = {
    "drain": (drain, "real"),
    "rebalance": (rebalance, "fake"),
    "freeze": (faults(lambda node: node.process.send_signal(signal.SIGSTOP),
                      lambda node: node.process.send_signal(signal.SIGCONT)), "real"),
    "kill": (faults(Node.kill, Node.start), "real"),
    "blackout": (blackout, "real"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--binary", default=str(ROOT / "target/release/holdfast"))
    parser.add_argument("--sessions", type=int, help="publishers and players (60), or sessions of rebalance (2000)")
    parser.add_argument("--players", type=int, default=2, help="players of each publisher (2)")
    parser.add_argument("--rate", type=int, help="moves per second (20; rebalance: 100)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each node is drained (1)")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs, and say where it is")
    args = parser.parse_args()
    idle = args.scenario == "rebalance"
    args.sessions = args.sessions or (2_000 if idle else 60)
    args.rate = args.rate or (100 if idle else 20)
    run, media = SCENARIOS[args.scenario]
    farm = Farm(args, media)
    try:
        result, broken = run(farm)
    finally:
        if args.keep:
            print(f"logs: {farm.folder}", file=sys.stderr)
        farm.end()
    if args.json:
        print(json.dumps({**result, "broken": broken}))
    else:
        for key, value in result.items():
            print(f"| {key.replace('_', ' ')} | {value} |")
        for what in broken:
            print(f"BROKEN: {what}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
