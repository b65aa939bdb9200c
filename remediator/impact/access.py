"""Modes and owners of files: who could read or write them, and no longer can."""

from __future__ import annotations

from ..model import Change, Fact
from .verdict import Verdict, breaks, ruled_out, some, unknown
from .view import View

_RIGHTS = ((4, "read"), (2, "write"))


def _verbs(bits: int) -> str:
    return " and ".join(name for bit, name in _RIGHTS if bits & bit)


def _lost(fact: Fact, change: Change) -> tuple[int, int, int]:
    """What owner, group and all others lose, as bits of read and write."""
    old = int(fact.document["mode"], 8)
    if change.path == "/mode":
        gone = old & ~int(str(change.after), 8)
        return gone >> 6 & 6, gone >> 3 & 6, gone & 6
    user, _, group = str(change.before).partition(":")
    new_user, _, new_group = str(change.after).partition(":")
    others = old & 6
    return (
        (old >> 6 & 6) & ~others if user != new_user else 0,
        (old >> 3 & 6) & ~others if group != new_group else 0,
        0,
    )


def file(change: Change, view: View) -> Verdict:
    """Users lose what the owner, the group or everyone could do; root never does."""
    fact = view.state.facts["file"][change.resource]
    if "accounts" not in view.state.about or not view.state.about["accounts"]:
        return Verdict()
    user, _, group = str(fact.document["owner"]).partition(":")
    members = [one for one in view.state.about["accounts"].get("groups", {}).get(group, []) if one != "root"]
    logins = view.state.about["accounts"].get("logins", [])
    of_owner, of_group, of_others = _lost(fact, change)
    cut = [f"{user} can no longer {_verbs(of_owner)} it"] if of_owner and user != "root" else []
    if of_group and members:
        cut.append(f"{some(members)} of group {group} can no longer {_verbs(of_group)} it")
    if of_others & 2 and fact.evidence.get("type") == "socket":
        cut.append(f"services and users outside of group {group}, who can all connect to it now, no longer can")
    if cut:
        return breaks(*cut)
    if of_others and logins:
        return unknown(
            f"whether {some(logins)}, who can log in, or a service {_verbs(of_others)}s it, as everyone can now"
        )
    if of_others:
        return unknown(f"whether a service of this host {_verbs(of_others)}s it, as everyone can now")
    return ruled_out("nobody but root loses access")


def group(change: Change, _view: View) -> Verdict:
    """Members who leave the group can no longer use the engine."""
    gone = [one for one in change.before or [] if change.after == change.before or one not in (change.after or [])]
    return breaks(f"{some(gone)} can no longer use Docker, when taken out of the group") if gone else Verdict()
