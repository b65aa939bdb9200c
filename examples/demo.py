"""The tour: audit, plan, dry-run and apply on a scratch copy of the example host. No Docker, no root.

make demo
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from examples import scratch

WHERE = Path("build/demo")
ROOT = WHERE / "host/rootfs"
PROGRAM = Path(sys.executable).parent / "remediator"
EDITED = ("etc/docker/daemon.json", "etc/environment", "etc/audit/rules.d/50-docker.rules")


def say(text: str = "") -> None:
    print(text, flush=True)


def heading(text: str) -> None:
    say(f"\n{'=' * 78}\n{text}\n{'=' * 78}\n")


def remediator(*arguments: str, codes: tuple[int, ...] = (0, 2), note: str = "") -> str:
    """Run the program, telling the command as one would type it; what it printed on standard output."""
    program = os.path.relpath(PROGRAM) if PROGRAM.is_relative_to(Path.cwd()) else str(PROGRAM)
    say(f"$ {shlex.join([program, *arguments])}{f'    # {note}' if note else ''}")
    done = subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        say(done.stdout[-4000:] + done.stderr[-4000:])
        raise SystemExit(f"The demo stops: the command ended with exit code {done.returncode}.")
    return done.stdout


def excerpt(text: str, name: str, first: int, last: int) -> None:
    """The beginning and end of an output, and where all of it is."""
    lines = text.rstrip("\n").split("\n")
    if len(lines) <= first + last + 3:
        say(text)
        return
    path = WHERE / name
    path.write_text(text, encoding="utf-8")
    say("\n".join(lines[:first]))
    say(f"\n   ... {len(lines) - first - last} more lines in {path} ...\n")
    say("\n".join(lines[-last:]))


def pending(findings: list[dict[str, Any]]) -> None:
    """The findings that await activation; the many audit rules in one line."""
    waiting = [one for one in findings if one["outcome"] == "fail" and one.get("pending")]
    rules = [one for one in waiting if one["kind"] == "audit_rule"]
    say(f"\nPending activation, {len(waiting)}: the files are right, and nothing runs in a file tree that could")
    say("take them up. On a live host apply reloads or restarts the daemon once, loads the rules, and looks again.")
    for one in waiting:
        if one not in rules:
            say(f"    {one['title']}: {one['reason'].removeprefix('pending activation: ')}")
    say(f"    {len(rules)} audit rules are written, and not compiled yet")


def held(plan: dict[str, Any]) -> None:
    """How many findings are held for which reason; those for a person in one line."""
    reasons = Counter(one["reason"] for one in plan["hosts"][0]["held"])
    people = sum(number for reason, number in reasons.items() if reason.startswith("manual"))
    say(f"\nHeld, {sum(reasons.values())}: not run, each with its reason")
    for reason, number in reasons.most_common():
        if not reason.startswith("manual"):
            say(f"    {number:3}  {reason}")
    say(f"    {people:3}  manual: a person has to decide; the plan says what to look at")


def show(title: str) -> None:
    """The files that the plan is about, as they are."""
    say(title)
    for name in EDITED:
        path = ROOT / name
        if not path.exists():
            say(f"\n--- {path}  (not there)")
            continue
        say(f"\n--- {path}  (mode {path.stat().st_mode & 0o7777:04o})")
        say(path.read_text(encoding="utf-8").rstrip("\n"))


def tour() -> None:
    heading("1. A host that nobody has hardened, copied to build/demo")
    shutil.rmtree(WHERE, ignore_errors=True)
    WHERE.mkdir(parents=True)
    scratch.make(WHERE / "host")
    show("Its files are in build/demo/host/rootfs, what its engine says of 14 containers in engine.json.")

    heading("2. Audit: what is wrong with it")
    root = ("--root", str(ROOT))
    excerpt(remediator("audit", *root), "audit-before.txt", 24, 2)

    heading("3. Plan: what would be changed, why, and what may break. Nothing is changed")
    policy = ("--fix", "unsafe", "--max-disruption", "restart")
    saved = ("-o", str(WHERE / "plan.json"), "--emit", str(WHERE / "project"))
    excerpt(remediator("plan", *root, *policy, *saved), "plan.txt", 48, 4)

    heading("4. Dry-run: the same playbook through ansible-runner with --check --diff")
    say(remediator("apply", str(WHERE / "plan.json"), "--dry-run"))

    heading("5. Apply: to the scratch copy, verified by a fresh look")
    say(remediator("apply", str(WHERE / "plan.json"), "--yes"))
    show("Unknown keys, order and layout survive; the log token never left the file:")

    heading("6. Audit again: what was fixed, what is pending, what is held and why")
    after = remediator("audit", *root)
    excerpt(after, "audit-after.txt", 6, 2)
    say("\n(Pending and held findings go on failing: they are told until they are fixed or waived.)\n")
    pending(json.loads(remediator("audit", *root, "--format", "json", note="the same as JSON, summed up:"))["findings"])
    say()
    held(json.loads(remediator("plan", *root, *policy, "--format", "json", note="a next plan, summed up:")))
    say()
    say(remediator("history", *root))

    heading("7. This very host, read-only")
    this_host()

    heading("To read and to try")
    patches = sorted((WHERE / "project/patches").iterdir())
    say(f"{WHERE}/plan.json        the plan; apply takes nothing else")
    say(
        f"{WHERE}/project/         the same for plain ansible-playbook: playbook.yml, its data in host_vars/ and files/"
    )
    say(f"{WHERE}/project/patches/ {len(patches)} patches (RFC 6902), one for each file, such as")
    for one in patches:
        if one.name.startswith(("daemon", "env-0")):
            say(f"    {one}")
    say("examples/plan.txt           a plan for this host with its daemon running, and a baseline with waivers")
    say("\nTo take the run back (RUN stands above, under history):")
    say(f"$ {os.path.relpath(PROGRAM)} rollback --root {ROOT} RUN")


def this_host() -> None:
    """A read-only plan of the machine that runs the demo, where a Docker engine answers."""
    saved = WHERE / "this-host.json"
    remediator("collect", "--timeout", "5", "-o", str(saved))
    reason = json.loads(saved.read_text(encoding="utf-8"))["about"].get("engine_error")
    if reason:
        say(f"No Docker engine answers on this machine, so there is no plan of it to show: {reason}.")
        return
    excerpt(remediator("plan", "--state", str(saved)), "this-host.txt", 24, 4)


def main() -> None:
    began = time.monotonic()
    try:
        tour()
    except OSError as error:
        raise SystemExit(f"The demo stops: {error}. Was build/demo made by another user? Remove it.") from error
    say(f"\nDone in {time.monotonic() - began:.0f} s. Nothing but .venv and {WHERE} was changed.")


if __name__ == "__main__":
    main()
