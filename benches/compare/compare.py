#!/usr/bin/env python3
"""Compares the cost of Holdfast with nginx, HAProxy and no proxy at all, side by side in one run.

    benches/compare/compare.py [--rounds 5] [--quick] [--only PART]... [--once PART]... [--out benches/compare/RESULTS.md]

Installs nginx and HAProxy from Debian if they are missing (as root). Every proxy runs with one worker
pinned to the first core; the load and the simulated server share the second one. The rounds are
interleaved: direct, nginx, HAProxy, Holdfast, direct, ... so that a change of the machine's mood hits
all of them. CPU is the run time of the process tree by the kernel's scheduler statistics
(/proc/PID/task/TID/schedstat), memory is PSS (smaps_rollup). The table holds medians, and the ratios of
Holdfast to its peers taken round by round.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROXY_CORE, LOAD_CORE = "0", "1"
# "holdfast" logs errors only and hands out no TLS tickets, as the others are set up; "defaults" is Holdfast with
# its own settings for both, one log line per event included.
TARGETS = ["direct", "nginx", "haproxy", "holdfast", "defaults"]


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def install(packages):
    """Installs what is missing from Debian; `packages` says by program which package has it."""
    path = os.environ["PATH"] + ":/usr/sbin"
    missing = [package for program, package in packages.items() if not shutil.which(program, path=path)]
    if not missing:
        return
    say(f"installing {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Debian starts services on install; the benchmark wants its own processes only.
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    fresh = not policy.exists()
    if fresh:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=env)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True, env=env,
                       stdout=subprocess.DEVNULL)
    finally:
        if fresh:
            policy.unlink()


def raise_open_files():
    """Files that a process may open from now on; each proxied session takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (200_000, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, soft), max(wanted, hard)))
            break
        except (OSError, ValueError):
            pass
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def pinned(core, *command, **options):
    return subprocess.Popen(["taskset", "-c", core, *map(str, command)], **options)


def wait_for(port):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}; run the proxy by hand to see why")


def tree(pid):
    found, queue = [], [pid]
    while queue:
        pid = queue.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                children = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text()
                queue += map(int, children.split())
        except OSError:
            pass
    return found


def cpu_ns(pid):
    total = 0
    for process in tree(pid):
        try:
            for task in os.listdir(f"/proc/{process}/task"):
                total += int(pathlib.Path(f"/proc/{process}/task/{task}/schedstat").read_text().split()[0])
        except OSError:
            pass
    return total


def pss_bytes(pid):
    total = 0
    for process in tree(pid):
        try:
            for line in pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total


class Bench:
    def __init__(self, quick):
        self.quick = quick
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
        self.binary = ROOT / "target" / "release" / "holdfast"
        self.cert, self.key = self.dir / "cert.pem", self.dir / "key.pem"
        subprocess.run([self.binary, "certificate", "--directory", self.dir], check=True, stdout=subprocess.DEVNULL)
        (self.dir / "bundle.pem").write_bytes(self.cert.read_bytes() + self.key.read_bytes())
        self.files = raise_open_files()

    # === processes

    def upstream(self, ping_ms=5000):
        self.up_port, self.control = free_port(), free_port()
        process = pinned(LOAD_CORE, self.binary, "simulate", "--listen", f"127.0.0.1:{self.up_port}",
                         "--control", f"127.0.0.1:{self.control}", "--set", "media=fake",
                         "--set", f"pings.interval_ms={ping_ms}", "--log-level", "error",
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.up_port)
        return process

    def proxy(self, name):
        ws, wss = free_port(), free_port()
        put_in = {"@DIR@": self.dir, "@CERT@": self.cert, "@KEY@": self.key, "@BUNDLE@": self.dir / "bundle.pem",
                  "@WS@": ws, "@WSS@": wss, "@UPSTREAM@": self.up_port,
                  "@FILES@": self.files, "@CONNECTIONS@": min(60_000, (self.files - 100) // 2)}

        def config(source):
            text = (HERE / source).read_text()
            if name == "defaults":
                text = text.replace('level = "error"', "").replace("tls_tickets = false", "")
            for mark, value in put_in.items():
                text = text.replace(mark, str(value))
            path = self.dir / source
            path.write_text(text)
            return path

        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if name == "defaults":
            # A log that is written somewhere, as in production.
            quiet["stderr"] = open(self.dir / "defaults.log", "ab")
        if name == "direct":
            return None, self.up_port, None
        if name == "nginx":
            process = pinned(PROXY_CORE, shutil.which("nginx") or "/usr/sbin/nginx", "-c", config("nginx.conf"), **quiet)
        elif name == "haproxy":
            process = pinned(PROXY_CORE, shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", config("haproxy.cfg"), **quiet)
        else:
            process = pinned(PROXY_CORE, self.binary, "run", "--config", config("holdfast.toml"),
                             env={**os.environ, "TOKIO_WORKER_THREADS": "1"}, **quiet)
        wait_for(ws)
        return process, ws, wss

    def load_command(self, port, secure, scenario, *more):
        url = f"{'wss://localhost' if secure else 'ws://127.0.0.1'}:{port}"
        return [self.binary, "load", url, "--scenario", scenario, "--json", "--connect-timeout-ms", "60000",
                "--ca", self.cert, *map(str, more)]

    def load(self, port, secure, scenario, *more):
        process = pinned(LOAD_CORE, *self.load_command(port, secure, scenario, *more), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(process.communicate()[0])

    def stop(self, *processes):
        for process in filter(None, processes):
            process.terminate()
        for process in filter(None, processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # === measurements: each returns {name: value} for one target in one round

    def with_target(self, name, work, ping_ms=5000):
        proxy, upstream = None, self.upstream(ping_ms)
        try:
            proxy, ws, wss = self.proxy(name)
            return work(proxy, ws, wss)
        finally:
            self.stop(proxy, upstream)

    def steady(self, name, label, scenario, per, *more, ping_ms=5000, sessions=100):
        """CPU per unit while a load runs: the proxy's own time between two moments of it."""
        seconds = 3 if self.quick else 6

        def work(proxy, ws, _):
            command = self.load_command(ws, False, scenario, "--sessions", sessions, "--ramp", 500, "--hold", seconds + 2, *more)
            load = pinned(LOAD_CORE, *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            time.sleep(1.0 + sessions / 500)
            before, counted = cpu_ns(proxy.pid), self.count(per)
            time.sleep(seconds)
            after, counted_after = cpu_ns(proxy.pid), self.count(per)
            load.communicate()
            units = max(counted_after - counted, 1)
            if counted_after - counted < seconds * 10:
                raise SystemExit(f"{name}: {label}: only {counted_after - counted} units in {seconds} s")
            return {label: (after - before) / units / 1000}

        return self.with_target(name, work, ping_ms)

    def count(self, verbs):
        asked = self.summary()["counters"]["asked"]
        return sum(asked.get(verb, 0) for verb in verbs)

    def summary(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control}/summary") as answer:
            return json.load(answer)

    def connects(self, name, secure):
        sessions = 400 if self.quick else 1500

        def work(proxy, ws, wss):
            before = cpu_ns(proxy.pid)
            summary = self.load(wss if secure else ws, secure, "idle", "--sessions", sessions, "--ramp", 300, "--hold", 0)
            after = cpu_ns(proxy.pid)
            return {f"CPU per new {'wss' if secure else 'ws'} session (µs)": (after - before) / max(summary["established"], 1) / 1000}

        return self.with_target(name, work)

    def memory(self, name, secure):
        sessions = 1000 if self.quick else 5000
        kind = "wss" if secure else "ws"

        def work(proxy, ws, wss):
            port = wss if secure else ws
            result = {}
            # A first few sessions, so that what a process allocates once is not counted per session.
            self.load(port, secure, "publish", "--sessions", 50, "--hold", 1)
            base = pss_bytes(proxy.pid)
            for scenario, label in (("idle", "after connection"), ("publish", "after one publish")):
                command = self.load_command(port, secure, scenario, "--sessions", sessions, "--ramp", 500, "--hold", 16)
                load = pinned(LOAD_CORE, *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                time.sleep(sessions / 500 + 12)
                result[f"memory per idle {kind} session, {label} (bytes)"] = (pss_bytes(proxy.pid) - base) / sessions
                load.communicate()
            return result

        return self.with_target(name, work)

    def latency(self, name):
        sessions = 300 if self.quick else 1000

        def work(_, ws, __):
            summary = self.load(ws, False, "echo", "--sessions", sessions, "--ramp", 500, "--rate", 2000, "--hold", 8)
            return {"p50 latency, 2,000 msg/s (µs)": summary["answer"]["p50_ms"] * 1000}

        return self.with_target(name, work)

    def storm(self, name):
        sessions = 500 if self.quick else 2000
        proxy, upstream = None, self.upstream()
        try:
            proxy, ws, _ = self.proxy(name)
            command = self.load_command(ws, False, "storm", "--sessions", sessions, "--ramp", 500, "--hold", 20)
            load = pinned(LOAD_CORE, *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            time.sleep(sessions / 500 + 4)
            upstream.kill()
            upstream.wait()
            time.sleep(2)
            upstream = pinned(LOAD_CORE, self.binary, "simulate", "--listen", f"127.0.0.1:{self.up_port}", "--control",
                              f"127.0.0.1:{self.control}", "--set", "media=fake", "--log-level", "error",
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for(self.control)
            listening = time.monotonic()
            restored = None
            while time.monotonic() - listening < 10:
                if self.summary()["now"]["sessions"] >= sessions:
                    restored = time.monotonic() - listening
                    break
                time.sleep(0.02)
            summary = json.loads(load.communicate()[0])
            result = {
                "storm: sockets that survive (%)": 100 * summary["survived"] / sessions,
                "storm: streams running at the end (%)": 100 * summary["running"] / sessions,
            }
            if restored is not None:
                result["storm: all sessions restored after (ms)"] = restored * 1000
            return result
        finally:
            self.stop(proxy, upstream)

    def measurements(self, name, only, skipped=()):
        data = ("sendData",)
        result = {}
        steps = {
            "200": lambda: self.steady(name, "CPU per 200 B message and answer (µs)", "echo", data, "--rate", 4000),
            "6k": lambda: self.steady(name, "CPU per 6 KB message and answer (µs)", "echo", data, "--rate", 2000, "--message-bytes", 6000),
            "8": lambda: self.steady(name, "CPU per message and answer, 8 in flight (µs)", "echo", data, "--rate", 8000, "--in-flight", 8),
            "publish": lambda: self.steady(name, "CPU per publish cycle (µs)", "publish", ("publishStream",), "--rate", 600),
            "ping": lambda: self.steady(name, "CPU per ping-pong (µs)", "idle", ("pong",), ping_ms=100, sessions=200),
            "ws": lambda: self.connects(name, False),
            "wss": lambda: self.connects(name, True),
            "memory-ws": lambda: self.memory(name, False),
            "memory-wss": lambda: self.memory(name, True),
            "latency": lambda: self.latency(name),
            "storm": lambda: self.storm(name),
        }
        unknown = (set(only) | set(skipped)) - set(steps)
        if unknown:
            raise SystemExit(f"no part {', '.join(sorted(unknown))}; there are {', '.join(steps)}")
        for part, step in steps.items():
            # Without a proxy there is only time to compare.
            costs_a_proxy = part not in ("latency", "storm")
            if (not only or part in only) and part not in skipped and not (name == "direct" and costs_a_proxy):
                result.update(step())
        return result


def version(*command):
    try:
        output = subprocess.run(command, capture_output=True, text=True)
        return (output.stdout + output.stderr).strip().splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def table(rounds, quick):
    rows = list(dict.fromkeys(label for one in rounds for target in one.values() for label in target))
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    path = os.environ["PATH"] + ":/usr/sbin"
    lines = [
        "# Cost next to nginx and HAProxy",
        "",
        "Written by `benches/compare/compare.py`; do not edit.",
        "",
        f"{datetime.date.today()}, {cpu}, {os.cpu_count()} cores, Linux {platform.release()}; "
        f"{version(shutil.which('nginx', path=path) or 'nginx', '-v')}; {version(shutil.which('haproxy', path=path) or 'haproxy', '-v')}; "
        f"{version(str(ROOT / 'target/release/holdfast'), '--version')}. {len(rounds)} rounds{', quick (smaller loads)' if quick else ''}; "
        "medians, ratios taken round by round. Smaller is better, but for the percentages.",
        "",
        "| | direct | nginx | HAProxy | Holdfast | Holdfast, default settings | × nginx | × HAProxy | defaults × nginx |",
        "|---|---|---|---|---|---|---|---|---|",
    ]

    def median(values):
        return statistics.median(values) if values else None

    def shown(value):
        return "–" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"

    for row in rows:
        values = {target: [one[target][row] for one in rounds if row in one.get(target, {})] for target in TARGETS}
        ratios = {}
        for ours, peer in (("holdfast", "nginx"), ("holdfast", "haproxy"), ("defaults", "nginx")):
            pairs = [(one[ours][row], one[peer][row]) for one in rounds if row in one.get(ours, {}) and row in one.get(peer, {})]
            ratios[ours, peer] = median([mine / theirs for mine, theirs in pairs if theirs])
        cells = [shown(median(values[target])) for target in TARGETS]
        cells += ["–" if ratio is None else f"{ratio:.2f}" for ratio in ratios.values()]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--quick", action="store_true", help="small loads: shows that it runs, measures little")
    arguments.add_argument("--only", action="append", default=[], metavar="PART", help="only this measurement (repeatable)")
    arguments.add_argument("--once", action="append", default=[], metavar="PART",
                           help="this measurement in the first round only (repeatable)")
    arguments.add_argument("--target", action="append", default=[], choices=TARGETS, help="only this target (repeatable)")
    arguments.add_argument("--no-build", action="store_true", help="measure target/release/holdfast as it is")
    arguments.add_argument("--out", type=pathlib.Path, default=HERE / "RESULTS.md")
    options = arguments.parse_args()
    install({"nginx": "nginx", "haproxy": "haproxy"})
    if not options.no_build:
        say("building")
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    bench = Bench(options.quick)
    rounds = []
    for number in range(options.rounds):
        one = {}
        for target in options.target or TARGETS:
            say(f"round {number + 1} of {options.rounds}: {target}")
            one[target] = bench.measurements(target, options.only, options.once if number > 0 else ())
        rounds.append(one)
        options.out.write_text(table(rounds, options.quick))
    print(options.out.read_text())
    shutil.rmtree(bench.dir, ignore_errors=True)


if __name__ == "__main__":
    main()
