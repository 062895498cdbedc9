#!/usr/bin/env python3
"""How many instructions the session core takes for one exchange, by callgrind: the same on every machine and in
every run, where times are not. Needs valgrind. With `--base TREE` the same of another checkout
beside it."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

EXCHANGES = [
    ("ping", "idle ping and its answer"),
    ("forward", "message that nobody acts on, forwarded"),
    ("data", "`sendData` of 200 B and its answer"),
    ("publish", "publish of 2 KB, from its request to its end: five messages"),
]
FEW, MANY = 1_000, 3_000


def build(tree):
    """The bench of this tree."""
    command = ["cargo", "bench", "-p", "holdfast-core", "--bench", "instructions", "--no-run"]
    done = subprocess.run(
        command + ["--message-format=json"], cwd=tree, stdout=subprocess.PIPE, check=True, text=True
    )
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "instructions":
            return message["executable"]
    sys.exit("cargo built no bench `instructions`")


def counted(executable, exchange, count):
    with tempfile.TemporaryDirectory() as place:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={place}/out", executable, exchange, str(count)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def per_exchange(executable, exchange):
    return (counted(executable, exchange, MANY) - counted(executable, exchange, FEW)) / (MANY - FEW)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", metavar="TREE", help="a checkout to compare with")
    arguments = parser.parse_args()
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    trees = ([arguments.base] if arguments.base else []) + [here]
    executables = [build(tree) for tree in trees]
    print("| exchange | " + ("before | " if arguments.base else "") + "instructions |" + (" ratio |" if arguments.base else ""))
    print("|---|" + "---|" * (len(trees) + bool(arguments.base)))
    for name, about in EXCHANGES:
        counts = [per_exchange(executable, name) for executable in executables]
        ratio = f" {counts[1] / counts[0]:.2f} |" if arguments.base else ""
        print(f"| {about} | " + " | ".join(f"{count:,.0f}" for count in counts) + " |" + ratio, flush=True)


if __name__ == "__main__":
    main()
