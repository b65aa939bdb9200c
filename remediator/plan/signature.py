"""Detached ssh signatures of saved plans, made and checked by ssh-keygen (the SSHSIG format of OpenSSH)."""

from __future__ import annotations

import re
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from ..errors import InputError, PlanRefusedError, RemediatorError

NAMESPACE: Final = "remediator-plan"  # a signature made for files, mail or git is none of a plan
REQUIRED: Final = Path("/etc/remediator/allowed_signers")
BY_HAND: Final = f"sign it: ssh-keygen -Y sign -n {NAMESPACE} -f KEY PLAN"
_CHECK: Final = 30  # seconds
_SIGN: Final = 300  # seconds: a person types a passphrase or touches a key


def _keygen(*words: str, given: bytes, seconds: int) -> subprocess.CompletedProcess[bytes]:
    """What `ssh-keygen -Y` says; raises RemediatorError where there is none, or none that knows -Y."""
    try:
        done = subprocess.run(
            ["ssh-keygen", "-Y", *words], input=given, capture_output=True, timeout=seconds, check=False
        )
    except FileNotFoundError as error:
        raise RemediatorError(
            "there is no ssh-keygen, which signs and checks plans", "install openssh-client (openssh-clients on RHEL)"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise RemediatorError(f"ssh-keygen -Y {words[0]}: gave no answer in {seconds} seconds") from error
    except OSError as error:
        raise RemediatorError(f"ssh-keygen: {(error.strerror or str(error)).lower()}") from error
    if done.returncode and re.search(rb"^usage:|(unknown|illegal|invalid) option|Unsupported op", done.stderr, re.M):
        raise RemediatorError(
            f"this ssh-keygen is too old: it does not know -Y {words[0]}", "OpenSSH 8.2 or newer is needed"
        )
    return done


def _said(text: bytes) -> list[str]:
    return [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]


def sign(data: bytes, key: Path) -> bytes:
    """The signature of a plan's bytes, by a private key's file, or a public key's with the private one in an agent.

    Raises InputError where the key cannot be used.
    """
    done = _keygen("sign", "-n", NAMESPACE, "-f", str(key.absolute()), given=data, seconds=_SIGN)
    if done.returncode:
        why = [one for one in _said(done.stderr) if not one.startswith("Signing data")]
        raise InputError(f"--sign {key}: {'; '.join(why[-2:]) or 'ssh-keygen did not sign'}")
    return done.stdout


def signer(data: bytes, signature: bytes, signers: bytes) -> str:
    """Who signed these bytes, of those whom an allowed-signers file allows now: principal and key.

    Raises PlanRefusedError, with what ssh-keygen says, where it is no one. All that ssh-keygen reads is given
    as bytes, in files of our own: what is checked cannot be exchanged afterwards, and no name is an option.
    """
    with tempfile.TemporaryDirectory(prefix="remediator-") as folder:
        allowed, signed = Path(folder, "allowed_signers"), Path(folder, "signature")
        allowed.write_bytes(signers)
        signed.write_bytes(signature)
        files = ("-f", str(allowed), "-s", str(signed))
        found = _keygen("find-principals", *files, given=b"", seconds=_CHECK)
        said = found.stderr
        # some versions write all principals of a key into one line
        names = [one for line in _said(found.stdout) for one in line.split(",")] if found.returncode == 0 else []
        for name in names:
            done = _keygen("verify", *files, "-n", NAMESPACE, "-I", name, given=data, seconds=_CHECK)
            if done.returncode == 0:
                key = re.search(r" with (\S+ key \S+)$", done.stdout.decode(errors="replace").strip())
                return f"{name}, {key[1]}" if key else name
            said = done.stderr + b"\n" + done.stdout
    why = "; ".join(one.rstrip(".").replace(f"{folder}/", "") for one in _said(said))
    raise PlanRefusedError(why or "ssh-keygen refused it")


def required(path: Path = REQUIRED) -> bytes | None:
    """The allowed signers of which every plan on this machine needs one; None where it asks for none.

    Raises PlanRefusedError where the file is there and someone else than root could have written it.
    """
    hint = "let it be a file of root in a directory of root, writable by no one else"
    try:
        info, folder = path.lstat(), path.parent.lstat()
        for one, found, kind, right in (
            (path.parent, folder, "directory", stat.S_ISDIR(folder.st_mode)),
            (path, info, "file", stat.S_ISREG(info.st_mode)),
        ):
            if not right:
                raise PlanRefusedError(f"{one}: is no plain {kind}", hint)
            if found.st_uid != 0:
                raise PlanRefusedError(f"{one}: belongs to user {found.st_uid}", hint)
            if found.st_mode & 0o022:
                raise PlanRefusedError(f"{one}: others than root can write to it", hint)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PlanRefusedError(f"{path}: {(error.strerror or str(error)).lower()}", hint) from error


def check(
    plan: Path, data: bytes, signature: Path | None = None, allowed: Path | None = None, needed: Path = REQUIRED
) -> str:
    """Who signed a plan, "" where nobody asks: those of `needed`, where it is there, and of `allowed`, if given.

    `data` are the bytes of the plan's file, read once; the signature is in `signature`, or beside the plan with
    .sig at the end. Raises PlanRefusedError for a plan that is not signed, or by no one that each of them allows.
    """
    asked: dict[Path, bytes] = {}
    if (ours := required(needed)) is not None:
        asked[needed] = ours
    if allowed is not None:
        try:
            asked[allowed] = allowed.read_bytes()
        except OSError as error:
            raise InputError(f"{allowed}: {(error.strerror or str(error)).lower()}") from error
    if not asked:
        if signature is not None:
            raise InputError("--signature: nobody says who may sign", "give --allowed-signers FILE")
        return ""
    path = signature or plan.with_name(f"{plan.name}.sig")
    try:
        given = path.read_bytes()
    except FileNotFoundError as error:
        asking = " and ".join(map(str, asked))
        raise PlanRefusedError(f"{plan}: there is no signature {path}, and {asking} asks for one", BY_HAND) from error
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    found = []
    for signers, content in asked.items():
        try:
            found.append(signer(data, given, content))
        except PlanRefusedError as error:
            raise PlanRefusedError(f"{plan}: {path} is no signature of it by one of {signers}: {error}") from error
    return found[0]
