"""One person reviews, another system applies exactly that: digests and signatures by the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import pytest

from remediator.apply import apply, receipts
from remediator.apply.receipts import HostReceipt, Receipt
from remediator.errors import PlanRefusedError
from remediator.model import HostId
from remediator.plan import saved
from tests.unit.host import MACHINE_ID, program
from tests.unit.keys import Keys, need
from tests.unit.test_apply import Host

# A private /etc with the list of the machine in it, for one command: /etc itself is not touched.
NAMESPACE: Final = """
import os, subprocess, sys
folder, signers, *words = sys.argv[1:]
def mount(*options): subprocess.run(["mount", *options], check=True)
mount("-t", "tmpfs", "tmpfs", folder)
for name in ("upper", "work"): os.mkdir(f"{folder}/{name}")
mount("-t", "overlay", "overlay", "-o", f"lowerdir=/etc,upperdir={folder}/upper,workdir={folder}/work", "/etc")
os.makedirs("/etc/remediator", 0o755, exist_ok=True)
with open("/etc/remediator/allowed_signers", "w") as file: file.write(signers)
os.chmod("/etc/remediator/allowed_signers", 0o644)
os.execv(sys.executable, [sys.executable, *words])
"""


class Demanding(Host):
    """The tree on a machine where /etc/remediator/allowed_signers asks for signed plans."""

    def __init__(self, folder: Path, signers: str) -> None:
        super().__init__(folder)
        self.signers = signers
        (folder / "mount").mkdir()

    def run(self, *words: str | Path, given: str = "") -> int:
        """Run a command in a mount namespace of its own."""
        done = subprocess.run(
            [*self.inside(), "-m", "remediator", *map(str, words)],
            input=given, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        self.said, self.told = done.stdout, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.returncode

    def inside(self) -> list[str]:
        """A Python on that machine."""
        folder = str(self.tree.folder / "mount")
        unshare = ["unshare", "--mount", "--propagation", "private"]
        return [*unshare, sys.executable, "-c", NAMESPACE, folder, self.signers]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host that fails three controls."""
    return Host(tmp_path)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Keys beside the host."""
    folder = tmp_path / "keys"
    folder.mkdir()
    return Keys(folder)


@pytest.fixture
def demanding(tmp_path: Path, keys: Keys) -> Demanding:
    """A host whose plans jane has to sign."""
    need("root and unshare", os.geteuid() == 0 and shutil.which("unshare") is not None)
    made = Demanding(tmp_path, keys.line("jane", "jane@example.com"))
    tried = subprocess.run([*made.inside(), "-c", ""], capture_output=True, text=True, timeout=60, check=False)
    need(f"a mount namespace with an overlay: {tried.stderr.strip()[-200:]}", tried.returncode == 0)
    return made


def signers(host: Host, keys: Keys, *names: str) -> Path:
    """A file of allowed signers."""
    path = host.tree.folder / "signers"
    path.write_text("".join(keys.line(name, f"{name}@example.com") for name in names), encoding="utf-8")
    return path


# --- approval ---------------------------------------------------------------------------------------


def test_an_approved_plan_is_applied_without_asking(host: Host) -> None:
    """The digest that plan prints is the agreement; it is used up with the plan."""
    host.make_plan()
    digest = host.said.split("Plan ")[1].split(",")[0]
    assert json.loads(host.plan.read_bytes())["digest"] == digest
    assert host.apply("--approve", digest, "--dry-run") == 2
    assert host.apply("--approve", digest) == 2
    assert "3 fixed" in host.said
    assert host.apply("--approve", digest) == 1
    assert "was applied already" in host.told


def test_any_other_digest_is_refused(host: Host) -> None:
    """A prefix, another case, a digit more, one changed, no digest; with --dry-run and --yes as well."""
    host.make_plan()
    digest = saved.load(host.plan).digest
    before = host.tree.snapshot()
    changed = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    for other in (
        digest[:16],
        digest[:-1],
        digest + "0",
        f" {digest}",
        digest.upper(),
        changed,
        "é" * 64,
        "\udcff",
        "",
    ):
        assert host.apply("--approve", other) == 1, other
        assert "is not the one that was approved" in host.told
    for words in (("--dry-run",), ("--yes",)):
        assert host.apply("--approve", changed, *words) == 1
        assert "is not the one that was approved" in host.told
    assert before == host.tree.snapshot()


def test_the_plan_made_anew_is_another_plan(host: Host) -> None:
    """Approval is of one document, not of what it is about."""
    host.make_plan()
    digest = saved.load(host.plan).digest
    chosen = ("--root", host.tree.root, "--baseline", host.baseline, "--max-disruption", "none")
    assert host.run("plan", *chosen, "-o", host.plan) == 2
    assert host.apply("--approve", digest) == 1
    assert "is not the one that was approved" in host.told


def test_the_digest_of_many_recorded_hosts_is_printed(host: Host) -> None:
    """A plan that is written as it comes tells its digest as well; it is signed by hand."""
    states = host.tree.folder / "states.jsonl"
    states.write_bytes(b"".join(msgspec.json.encode(host.tree.state()) + b"\n" for _ in range(2)))
    words = ("plan", "--state", states, "--baseline", host.baseline, "-o", host.plan)
    assert host.run(*words) == 2
    assert f"Plan {saved.load(host.plan).digest}, valid until" in host.said
    assert host.run(*words, "--sign", host.tree.folder / "key") == 1
    assert "--state with many hosts" in host.told


# --- signatures -------------------------------------------------------------------------------------


def test_a_signed_plan_is_applied_and_its_signer_kept(host: Host, keys: Keys) -> None:
    """From `plan --sign` to the receipt and `history RUN`."""
    allowed = signers(host, keys, "jane")
    assert host.make_plan("--sign", keys.key("jane")) == 2
    signature = host.plan.with_name("plan.json.sig")
    assert [one.stat().st_mode & 0o777 for one in (host.plan, signature)] == [0o600, 0o600]
    elsewhere = signature.rename(host.tree.folder / "elsewhere")
    words = ("--allowed-signers", allowed, "--signature", elsewhere)
    assert host.apply("--dry-run", *words) == 2
    assert host.apply("--yes", "--format", "json", *words) == 2
    receipt = json.loads(host.said)
    assert receipt["signed_by"].startswith("jane@example.com, ED25519 key SHA256:")
    assert host.run("history", "--root", host.tree.root, receipt["run"]) == 0
    assert f"The plan was signed by {receipt['signed_by']}." in host.said


def test_a_plan_signed_by_hand_is_as_good(host: Host, keys: Keys) -> None:
    """The command of the README writes the signature where apply looks for it."""
    allowed = signers(host, keys, "bob", "jane")
    host.make_plan()
    words = ["ssh-keygen", "-Y", "sign", "-n", "remediator-plan", "-f", str(keys.key("jane")), str(host.plan)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    assert host.apply("--yes", "--allowed-signers", allowed) == 2
    assert "The plan was signed by jane@example.com" in host.said


@pytest.mark.parametrize("words", [("--yes",), ("--dry-run",)])
def test_a_plan_that_is_not_signed_so_is_refused(host: Host, keys: Keys, words: tuple[str, ...]) -> None:
    """Unsigned, by someone else, for something else, a byte altered that means nothing, an older plan's signature."""
    allowed, path = signers(host, keys, "jane"), host.plan.with_name("plan.json.sig")
    host.make_plan()
    before, data = host.tree.snapshot(), host.plan.read_bytes()

    def refused(signature: bytes, reason: str) -> None:
        path.write_bytes(signature)
        assert host.apply("--allowed-signers", allowed, *words) == 1
        assert reason in host.told

    assert host.apply("--allowed-signers", allowed, *words) == 1
    assert "there is no signature" in host.told
    good = keys.sign(data, "jane")
    refused(keys.sign(data, "mallory"), "No principal matched")
    refused(keys.sign(data, "jane", "file"), "namespace does not match")
    refused(good[:60] + bytes([good[60] ^ 1]) + good[61:], "is no signature of it")
    refused(keys.sign(b"another", "jane"), "incorrect signature")
    host.plan.write_bytes(data + b"\n")
    assert saved.load(host.plan)
    refused(good, "incorrect signature")
    assert before == host.tree.snapshot()


def test_a_signature_does_not_make_a_plan_good(host: Host, keys: Keys) -> None:
    """What is altered, used or past its time is refused, whoever signed it."""
    allowed, path = signers(host, keys, "jane"), host.plan.with_name("plan.json.sig")
    host.make_plan()
    good = host.plan.read_bytes()
    late = msgspec.json.decode(good)
    late["expires_at"] = "whenever"
    for data, reason in (
        (good.replace(b'"0644"', b'"0777"'), "was altered"),
        (b"{}", "not a plan"),
        (json.dumps(late).encode(), "was altered"),
    ):
        host.plan.write_bytes(data)
        path.write_bytes(keys.sign(data, "jane"))
        assert host.apply("--yes", "--allowed-signers", allowed) == 1
        assert reason in host.told


def test_where_a_signature_goes_is_known(host: Host, keys: Keys) -> None:
    """Signing wants a file to be beside; a key that cannot sign leaves no plan."""
    chosen = ("--root", host.tree.root, "--baseline", host.baseline)
    for words in ((), ("-o", "-")):
        assert host.run("plan", *chosen, "--sign", keys.key("jane"), *words) == 1
        assert (host.told.startswith("remediator: --sign: "), host.said) == (True, "")
    assert host.make_plan("--sign", keys.folder / "none") == 1
    assert "--sign" in host.told
    assert not host.plan.exists()


def test_an_ssh_keygen_that_cannot_do_it_is_told(host: Host, keys: Keys) -> None:
    """None at all, and one from before OpenSSH 8.1, for signing as for checking."""
    allowed = signers(host, keys, "jane")
    host.make_plan("--sign", keys.key("jane"))
    folder = host.tree.folder / "bin"
    folder.mkdir()
    commands: list[tuple[str | Path, ...]] = [
        ("apply", host.plan, "--yes", "--allowed-signers", allowed),
        ("plan", "--root", host.tree.root, "--baseline", host.baseline, "-o", host.plan, "--sign", keys.key("jane")),
    ]
    for words in commands:
        done = program(*words, PATH=str(folder))
        assert (done.returncode, "there is no ssh-keygen" in done.stderr) == (1, True), done.stderr
    old = folder / "ssh-keygen"
    old.write_text('#!/bin/sh\necho "unknown option -- Y" >&2\necho "usage: ssh-keygen [-q]" >&2\nexit 1\n')
    old.chmod(0o755)
    for words in commands:
        done = program(*words, PATH=str(folder))
        assert (done.returncode, "this ssh-keygen is too old" in done.stderr) == (1, True), done.stderr


# --- signatures that the machine asks for -----------------------------------------------------------


def test_no_option_turns_off_what_the_machine_asks_for(demanding: Demanding, keys: Keys) -> None:
    """Unsigned and wrongly signed plans are refused in all modes; a signed one is applied, and can be taken back."""
    own = signers(demanding, keys, "mallory")
    demanding.make_plan("--sign", keys.key("mallory"))
    digest, before = saved.load(demanding.plan).digest, demanding.tree.snapshot()
    for words in (("--yes",), ("--dry-run",), ("--approve", digest), ("--yes", "--allowed-signers", own)):
        assert demanding.apply(*words) == 1
        assert "is no signature of it by one of /etc/remediator/allowed_signers" in demanding.told
    demanding.plan.with_name("plan.json.sig").unlink()
    assert demanding.apply("--yes") == 1
    assert "/etc/remediator/allowed_signers asks for one" in demanding.told
    assert before == demanding.tree.snapshot()

    demanding.make_plan("--sign", keys.key("jane"))
    assert demanding.apply("--yes", "--format", "json") == 2
    receipt = json.loads(demanding.said)
    assert receipt["signed_by"].startswith("jane@example.com, ")
    assert demanding.rollback(receipt["run"]) == 2


def test_drift_corrects_nothing_where_plans_have_to_be_signed(demanding: Demanding) -> None:
    """A correction's plan is made by the host itself: it is told, not made, nor put on a timer."""
    before = demanding.tree.snapshot()
    assert demanding.drift() == 2
    assert demanding.drift("--mode", "correct") == 1
    assert "no one signs the plan of a correction" in demanding.told
    assert demanding.run("drift", "install", "--mode", "correct") == 1
    assert "no one signs the plan of a correction" in demanding.told
    assert before == demanding.tree.snapshot()


# --- once, and within its time ----------------------------------------------------------------------


def receipt(run: str, plan: str = "", undoes: str = "") -> Receipt:
    """A receipt of a run on one host."""
    return Receipt(
        run=run, kind="apply", started_at="", finished_at="", plan=plan, baseline="small",
        hosts=(HostReceipt(HostId("web1", MACHINE_ID), ok=False),), plans=(), undoes=undoes,
    )  # fmt: skip


def test_a_used_plan_stays_used_until_it_expires(host: Host, tmp_path: Path) -> None:
    """However many runs follow, receipts of plans that could still be applied are kept; older ones are not."""
    host.make_plan()
    plan, where, now = saved.load(host.plan), tmp_path / "state", datetime.now(UTC)

    def run(hours: float, number: int) -> str:
        return f"{(now - timedelta(hours=hours)).strftime('%Y%m%dT%H%M%SZ')}-{number:08x}"

    used = msgspec.structs.replace(receipt(run(23, 0), plan.digest), finished_at="then")
    receipts.write(where, receipt(run(25, 0)))
    receipts.write(where, used)
    for number in range(receipts.KEEP + 5):
        receipts.write(where, receipt(run(1, number)))
    kept = {one.run for one in receipts.history(where)}
    assert (run(25, 0) in kept, used.run in kept, len(kept)) == (False, True, receipts.KEEP + 6)
    with pytest.raises(PlanRefusedError, match="was applied already"):
        apply.unfinished(plan, where)


def test_a_run_that_was_taken_back_is_not_taken_up(host: Host, tmp_path: Path) -> None:
    """A plan whose run died can be finished, until the run is rolled back: then it is used."""
    host.make_plan()
    plan, where = saved.load(host.plan), tmp_path / "state"
    died = receipt("20261101T000000Z-00000001", plan.digest)
    receipts.write(where, died)
    assert died == apply.unfinished(plan, where)
    receipts.write(where, receipt("20261101T000001Z-00000002", "other", undoes=died.run))
    with pytest.raises(PlanRefusedError, match="and taken back"):
        apply.unfinished(plan, where)


@pytest.mark.parametrize("end", ["", "whenever", "2026-11-23T12:00:00", "2026-11-23", "9999999-01-01T00:00:00Z"])
def test_a_plan_that_does_not_say_when_it_expires_is_refused(host: Host, end: str) -> None:
    """A plan sealed by something else than this program is told, without a traceback."""
    host.make_plan()
    plan = msgspec.structs.replace(saved.load(host.plan), expires_at=end)
    with pytest.raises(PlanRefusedError, match="expires at no time that is known"):
        saved.check_time(plan, datetime.now(UTC))
