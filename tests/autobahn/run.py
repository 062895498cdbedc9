#!/usr/bin/env python3
"""The Autobahn test suite against both legs of the proxy.

    python3 tests/autobahn/run.py                    all cases but compression, both legs
    python3 tests/autobahn/run.py --cases '5.*' 6.4.1
    python3 tests/autobahn/run.py --leg upstream --binary target/release/holdfast

Client leg: the suite's fuzzing client talks to the proxy, behind which its echo server stands.
Upstream leg: the suite's echo client talks through the proxy to its fuzzing server, which breaks the
protocol in every way there is. Ends with 1 if a case failed or did not run.

Needs a Python 2.7, as `python2.7` or from pyenv: the suite runs under nothing newer. It is installed from PyPI
into target/autobahn. All traffic stays on loopback.
"""

import argparse
import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOME = os.path.join(ROOT, "target", "autobahn")
SUITE = "autobahntestsuite==25.10.1"
# Compression is not spoken: its cases (12, 13) have nothing to test.
COMPRESSION = ["12.*", "13.*"]
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
START_S_MAX = 30
LEG_S_MAX = 3600


def python27():
    candidates = [shutil.which("python2.7")]
    # A shim of pyenv is a script that may have no version behind it.
    candidates += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/2.7.*/bin/python2.7")), reverse=True)
    for python in filter(None, candidates):
        if subprocess.run([python, "-c", "pass"], capture_output=True).returncode == 0:
            return python
    sys.exit("autobahn: there is no Python 2.7 (apt-get install python2.7, or pyenv install 2.7.18)")


def install():
    """The suite's command, and the environment it needs."""
    environment = dict(os.environ, PYTHONUSERBASE=os.path.join(HOME, "python"))
    wstest = os.path.join(HOME, "python", "bin", "wstest")
    if not os.path.exists(wstest):
        command = [python27(), "-m", "pip", "install", "--user", "--quiet", "--no-warn-script-location", SUITE]
        print("autobahn: installing", SUITE, flush=True)
        subprocess.run(command, env=environment, check=True)
    return wstest, environment


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port, process, what):
    end = time.monotonic() + START_S_MAX
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit("autobahn: %s ended with %s" % (what, process.returncode))
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("autobahn: %s does not listen" % what)


class Running:
    """Processes that end with the block."""

    def __init__(self):
        self.processes = []

    def __enter__(self):
        return self

    def start(self, what, command, port=None, **rest):
        log = open(os.path.join(HOME, what + ".log"), "w")
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **rest)
        self.processes.append(process)
        if port:
            wait_for(port, process, what)
        return process

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def start_proxy(running, binary, upstream_port):
    port = free_port()
    config = os.path.join(HOME, "holdfast.toml")
    with open(config, "w") as file:
        # The fuzzing server counts connections: a case that was lost must not be dialled again.
        file.write(
            '[listen]\naddress = ["127.0.0.1:%d"]\n[upstream]\nurl = ["ws://127.0.0.1:%d"]\n'
            '[restore]\nconnection = false\n[media]\nmode = "direct"\n[admin]\nlisten = "off"\n'
            % (port, upstream_port)
        )
    running.start("proxy", [binary, "run", "--config", config], port)
    return port


def write_spec(leg, cases, **rest):
    spec = os.path.join(HOME, leg + ".json")
    reports = os.path.join(HOME, leg)
    shutil.rmtree(reports, ignore_errors=True)
    with open(spec, "w") as file:
        json.dump(dict(rest, outdir=reports, cases=cases, **{"exclude-cases": COMPRESSION, "exclude-agent-cases": {}}), file)
    return spec, os.path.join(reports, "index.json")


def client_leg(binary, wstest, environment, cases):
    with Running() as running:
        echo = free_port()
        command = [wstest, "-m", "testeeserver", "-w", "ws://127.0.0.1:%d" % echo]
        running.start("echo-server", command, echo, env=environment)
        port = start_proxy(running, binary, echo)
        server = {"agent": "holdfast", "url": "ws://127.0.0.1:%d" % port, "options": {"version": 18}}
        spec, index = write_spec("client", cases, options={"failByDrop": False}, servers=[server])
        fuzzer = running.start("fuzzing-client", [wstest, "-m", "fuzzingclient", "-s", spec], env=environment)
        fuzzer.wait(LEG_S_MAX)
        return index


def upstream_leg(binary, wstest, environment, cases):
    with Running() as running:
        port = free_port()
        spec, index = write_spec("upstream", cases, options={"failByDrop": False}, url="ws://127.0.0.1:%d" % port)
        command = [wstest, "-m", "fuzzingserver", "-s", spec, "-u", "0"]
        running.start("fuzzing-server", command, port, env=environment)
        proxy = start_proxy(running, binary, port)
        command = [wstest, "-m", "testeeclient", "-w", "ws://127.0.0.1:%d" % proxy, "-i", "holdfast"]
        running.start("echo-client", command, env=environment).wait(LEG_S_MAX)
        return index


def judge(leg, index):
    """Prints what a leg came to; true if every case passed."""
    try:
        with open(index) as file:
            agents = json.load(file)
    except OSError:
        print("%s leg: no report, see %s" % (leg, HOME))
        return False
    results = [(case, result) for cases in agents.values() for case, result in cases.items()]
    counts = {}
    for _, result in results:
        for key in ("behavior", "behaviorClose"):
            counts[(key, result[key])] = counts.get((key, result[key]), 0) + 1
    print("%s leg: %d cases" % (leg, len(results)))
    for (key, behavior), count in sorted(counts.items()):
        print("  %-13s %-13s %d" % (key, behavior, count))
    failed = [
        (case, result["behavior"], result["behaviorClose"])
        for case, result in results
        if result["behavior"] not in PASSED or result["behaviorClose"] not in PASSED
    ]
    for case in sorted(failed):
        print("  FAILED %s: %s, close %s" % case)
    return bool(results) and not failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leg", choices=["client", "upstream", "both"], default="both")
    parser.add_argument("--cases", nargs="+", default=["*"])
    parser.add_argument("--binary", help="a holdfast that is built already")
    options = parser.parse_args()
    os.makedirs(HOME, exist_ok=True)
    binary = options.binary
    if not binary:
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
        binary = os.path.join(ROOT, "target", "release", "holdfast")
    wstest, environment = install()
    legs = {"client": client_leg, "upstream": upstream_leg}
    names = list(legs) if options.leg == "both" else [options.leg]
    # Each is told, also when the first fails.
    passed = [judge(leg, legs[leg](binary, wstest, environment, options.cases)) for leg in names]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
