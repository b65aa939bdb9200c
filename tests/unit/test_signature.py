"""Signatures of plans, made and checked by the real ssh-keygen: what counts, and all that does not."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from remediator.errors import InputError, PlanRefusedError
from remediator.plan import signature
from tests.unit.keys import Keys, need

DATA: Final = b'{"plan": "of some bytes"}\n' * 40
NOWHERE: Final = Path("/no/such/allowed_signers")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """The keys of jane, who may sign, and of mallory, who may not."""
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def jane(keys: Keys) -> bytes:
    """An allowed-signers file that knows jane alone."""
    return keys.line("jane", "jane@example.com").encode()


@pytest.fixture(scope="module")
def signed(keys: Keys) -> bytes:
    """Jane's signature."""
    return signature.sign(DATA, keys.key("jane"))


def refused(data: bytes, given: bytes, signers: bytes) -> str:
    """Why a signature does not count."""
    with pytest.raises(PlanRefusedError) as caught:
        signature.signer(data, given, signers)
    return str(caught.value)


def test_a_signature_names_who_made_it(keys: Keys, jane: bytes, signed: bytes) -> None:
    """Principal and key are told; a signature made by hand is as good."""
    fingerprint = subprocess.run(
        ["ssh-keygen", "-l", "-f", f"{keys.key('jane')}.pub"], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()[1]
    assert signature.signer(DATA, signed, jane) == f"jane@example.com, ED25519 key {fingerprint}"
    assert signature.signer(DATA, keys.sign(DATA, "jane"), jane) == f"jane@example.com, ED25519 key {fingerprint}"


@pytest.mark.parametrize("place", [0, 1, len(DATA) // 2, len(DATA) - 1])
def test_an_altered_byte_of_the_plan_is_refused(jane: bytes, signed: bytes, place: int) -> None:
    """One other bit anywhere, and one byte more or fewer."""
    altered = bytearray(DATA)
    altered[place] ^= 1
    assert "incorrect signature" in refused(bytes(altered), signed, jane)
    for other in (DATA[:place] + DATA[place + 1 :], DATA[:place] + b" " + DATA[place:]):
        assert refused(other, signed, jane)


def test_an_altered_byte_of_the_signature_is_refused(jane: bytes, signed: bytes) -> None:
    """Header, key, namespace, hash and signature itself: none of it can be otherwise."""
    found = re.fullmatch(r"(-+BEGIN[^\n]+\n)(.+)(\n-+END.+)", signed.decode(), re.DOTALL)
    assert found
    raw = base64.b64decode(found[2])
    # the last byte of the version, 6 to 9, may be lower for OpenSSH, and says nothing of what is signed
    for place in {*range(0, 6), *range(10, len(raw), 9), len(raw) - 1}:
        altered = bytearray(raw)
        altered[place] ^= 1
        given = f"{found[1]}{base64.encodebytes(bytes(altered)).decode().strip()}{found[3]}"
        assert refused(DATA, given.encode(), jane), place
    again = f"{found[1]}{base64.encodebytes(raw).decode().strip()}{found[3]}"
    assert signature.signer(DATA, again.encode(), jane)


@pytest.mark.parametrize("given", [b"", b"\n", b"no signature", b"\xff\x00" * 99, b"-----BEGIN SSH SIGNATURE-----\n"])
def test_what_is_no_signature_is_refused(jane: bytes, given: bytes) -> None:
    """Anything else in the file of the signature."""
    assert refused(DATA, given, jane)


@pytest.mark.parametrize("namespace", ["file", "git", "remediator-plan2", "Remediator-Plan"])
def test_a_signature_for_something_else_is_refused(keys: Keys, jane: bytes, namespace: str) -> None:
    """What jane signed as something else than a plan is no signature of a plan."""
    assert "namespace does not match" in refused(DATA, keys.sign(DATA, "jane", namespace), jane)


def test_only_who_is_allowed_now_can_sign(keys: Keys, jane: bytes, signed: bytes) -> None:
    """Someone else, someone taken off the list, one whose time is over or not come, one allowed for git alone."""
    assert "No principal matched" in refused(DATA, keys.sign(DATA, "mallory"), jane)
    assert "No principal matched" in refused(DATA, signed, keys.line("mallory", "jane@example.com").encode())
    assert "No principal matched" in refused(DATA, signed, b"# " + jane)
    for empty in (b"", b"\xff\x00", b"jane@example.com\n"):
        assert "No principal matched" in refused(DATA, signed, empty)
    for options, reason in (
        ('valid-before="20200101"', "key has expired"),
        ('valid-after="20990101"', "key is not yet valid"),
        ('namespaces="git,file"', "not permitted"),
    ):
        why = refused(DATA, signed, keys.line("jane", "jane@example.com", options).encode())
        assert (reason in why, "/tmp" in why) == (True, False), why
    good = keys.line("jane", "jane@example.com", 'namespaces="remediator-*",valid-before="20990101"')
    assert signature.signer(DATA, signed, good.encode())


@pytest.mark.parametrize(
    ("principals", "name"),
    [("ops,jane", "ops"), ("*@example.com", "*@example.com"), ("-x", "-x"), ('"jane d"', "jane d")],
)
def test_principals_are_names_as_they_stand(keys: Keys, signed: bytes, principals: str, name: str) -> None:
    """Several, a pattern, one that looks like an option, one with a space; others on the list do not matter."""
    signers = keys.line("mallory", "mallory") + keys.line("jane", principals)
    assert signature.signer(DATA, signed, signers.encode()).partition(",")[0] == name


def test_names_of_files_are_not_options(
    keys: Keys, jane: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plan, signature, list and key may be called what they like."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(keys.key("jane"), "-k")
    Path("-x.sig").write_bytes(signature.sign(DATA, Path("-k")))
    Path("-f").write_bytes(jane)
    assert signature.check(Path("-x"), DATA, None, Path("-f"), NOWHERE).startswith("jane@example.com")
    assert signature.check(Path("plan"), DATA, Path("-x.sig"), Path("-f"), NOWHERE).startswith("jane@example.com")


def test_a_public_key_signs_by_the_agent(
    keys: Keys, jane: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The private key may be in an agent; without one the public key alone cannot sign."""
    need("ssh-agent", shutil.which("ssh-agent") is not None)
    public = tmp_path / "id.pub"
    shutil.copy(f"{keys.key('jane')}.pub", public)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(InputError, match=r"--sign .*id\.pub: .*"):
        signature.sign(DATA, public)
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout and agent.stdout.readline()
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            subprocess.run(["ssh-add", "-q", str(keys.key("jane"))], check=True, timeout=60)
            assert signature.signer(DATA, signature.sign(DATA, public), jane)
        finally:
            agent.terminate()


def test_a_key_that_cannot_sign_is_told(keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no key, a key that others can read, one whose passphrase no one gives."""
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    (tmp_path / "text").write_text("no key\n", encoding="utf-8")
    shutil.copy(keys.key("jane"), tmp_path / "open")
    (tmp_path / "open").chmod(0o644)
    for key in (tmp_path / "none", tmp_path / "text", tmp_path / "open", keys.key("locked", "a passphrase"), tmp_path):
        with pytest.raises(InputError, match=rf"--sign {key}: \w+"):
            signature.sign(DATA, key)


# --- who is asked -----------------------------------------------------------------------------------


def test_both_lists_are_asked(keys: Keys, jane: bytes, signed: bytes, tmp_path: Path) -> None:
    """A list that is given does not take the place of the machine's own, whose name for the signer is told."""
    need("root", os.geteuid() == 0)
    plan, needed, own = tmp_path / "plan.json", tmp_path / "allowed_signers", tmp_path / "own"
    own.write_text(keys.line("mallory", "mallory"), encoding="utf-8")
    plan.with_name("plan.json.sig").write_bytes(keys.sign(DATA, "mallory"))
    assert signature.check(plan, DATA, None, own, needed).startswith("mallory")
    needed.write_bytes(jane)
    for signature_, given, reason in (
        (keys.sign(DATA, "mallory"), own, needed),
        (keys.sign(DATA, "mallory"), None, needed),
        (signed, own, own),
    ):
        plan.with_name("plan.json.sig").write_bytes(signature_)
        with pytest.raises(PlanRefusedError, match=f"by one of {reason}: No principal matched"):
            signature.check(plan, DATA, None, given, needed)
    assert signature.check(plan, DATA, None, None, needed).startswith("jane@example.com")
    own.write_text(keys.line("jane", "another-name"), encoding="utf-8")
    assert signature.check(plan, DATA, None, own, needed).startswith("jane@example.com")


def test_nobody_asks(tmp_path: Path) -> None:
    """Without a list no signature is looked at; one that is given wants a list."""
    assert signature.check(tmp_path / "plan.json", DATA, None, None, NOWHERE) == ""
    with pytest.raises(InputError, match="nobody says who may sign"):
        signature.check(tmp_path / "plan.json", DATA, tmp_path / "plan.sig", None, NOWHERE)


def test_a_list_or_signature_that_cannot_be_read_is_told(jane: bytes, tmp_path: Path) -> None:
    """A missing signature is refused, with how to make one; anything else is wrong input."""
    plan, own = tmp_path / "plan.json", tmp_path / "own"
    own.write_bytes(jane)
    with pytest.raises(InputError, match="/no/such/allowed_signers: no such file"):
        signature.check(plan, DATA, None, NOWHERE, NOWHERE)
    with pytest.raises(PlanRefusedError, match=r"there is no signature .*plan\.json\.sig, and .*own asks") as caught:
        signature.check(plan, DATA, None, own, NOWHERE)
    assert "ssh-keygen -Y sign -n remediator-plan" in caught.value.hint
    with pytest.raises(InputError, match="is a directory"):
        signature.check(plan, DATA, tmp_path, own, NOWHERE)


def test_the_machines_list_is_roots_alone(tmp_path: Path) -> None:
    """A list that others could have written, or that is elsewhere, is not believed, and not passed over."""
    need("root", os.geteuid() == 0)
    folder = tmp_path / "remediator"
    path = folder / "allowed_signers"
    assert signature.required(path) is None
    folder.mkdir(mode=0o755)
    assert signature.required(path) is None
    path.write_bytes(b"list")
    path.chmod(0o644)
    assert signature.required(path) == b"list"
    for where, mode, reason in ((path, 0o664, "others than root"), (path, 0o646, "others than root")):
        where.chmod(mode)
        with pytest.raises(PlanRefusedError, match=f"{where}: {reason}"):
            signature.required(path)
    path.chmod(0o600)
    folder.chmod(0o775)
    with pytest.raises(PlanRefusedError, match=f"{folder}: others than root"):
        signature.required(path)
    folder.chmod(0o755)
    for where in (path, folder):
        os.chown(where, 65534, 0)
        with pytest.raises(PlanRefusedError, match=f"{where}: belongs to user 65534"):
            signature.required(path)
        os.chown(where, 0, 0)
    assert signature.required(path) == b"list"


def test_the_machines_list_is_a_plain_file(tmp_path: Path) -> None:
    """Links, also those that lead nowhere, directories and pipes are refused."""
    real = tmp_path / "real"
    real.mkdir()
    (real / "allowed_signers").write_bytes(b"list")
    linked = tmp_path / "linked"
    linked.symlink_to(real)
    with pytest.raises(PlanRefusedError, match="linked: is no plain directory"):
        signature.required(linked / "allowed_signers")
    for name, make in (
        ("link", lambda path: path.symlink_to(real / "allowed_signers")),
        ("dangling", lambda path: path.symlink_to("/no/such/file")),
        ("folder", Path.mkdir),
        ("pipe", os.mkfifo),
    ):
        make(real / name)
        with pytest.raises(PlanRefusedError, match=f"{name}: is no plain file|belongs to user"):
            signature.required(real / name)
