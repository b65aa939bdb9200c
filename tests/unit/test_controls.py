"""The bundled controls: complete, consistent with each other and with the list of recommendations."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from remediator.baseline import Control, load_controls
from remediator.expect import NO_FIX, project, same
from remediator.model import ABSENT, Disruption, Safety

CIS: Final = Path(__file__).resolve().parents[3] / "shared" / "reference" / "cis-docker.csv"
VERSIONS: Final = ("cis-1.3.1", "cis-1.6.0", "cis-1.8.0")
LETTERS: Final = {
    "S": "spoofing",
    "T": "tampering",
    "R": "repudiation",
    "I": "information-disclosure",
    "D": "denial-of-service",
    "E": "elevation-of-privilege",
    "*": "all",
}
# What dockerd takes up on SIGHUP, seen on 20.10, 26 and 28.
RELOADABLE: Final = frozenset(
    {
        "debug",
        "live-restore",
        "labels",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "shutdown-timeout",
        "insecure-registries",
        "registry-mirrors",
        "default-runtime",
        "runtimes",
        "features",
        "default-shm-size",
        "default-ipc-mode",
        "default-cgroupns-mode",
    }
)
NO_NATURAL_FIX: Final = frozenset({"none_of", "lacks_any", "lacks_item", "empty", "not_empty", "matches"})
PREFIXES: Final = ("audit-", "docker-", "file-", "image-", "container-", "swarm-", "host-", "env-")


def controls() -> list[Control]:
    """All bundled controls."""
    return list(load_controls().values())


def texts(control: Control) -> Iterator[str]:
    """Everything in a control that a user reads."""
    yield from (control.title, control.rationale, control.why, control.manual, control.tailored)


def rows() -> list[dict[str, str]]:
    """The rows of the list of recommendations; skips the test where the list is not there."""
    if not CIS.is_file():
        pytest.skip("the list of recommendations is not next to the repository")
    with CIS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def paired() -> list[tuple[dict[str, str], Control]]:
    """Each row with the control of the same newest number."""
    by_number = {control.benchmarks.get("cis-docker-1.8.0", ""): control for control in controls()}
    return [(row, by_number[row["cis-1.8.0"]]) for row in rows()]


def judged(name: str, value: Any) -> str:
    """What a control says of a value: "pass", "fix" or "no fix"."""
    control = load_controls()[name]
    assert control.expect is not None
    wanted = project(control.expect, value)
    if wanted is NO_FIX:
        return "no fix"
    return "pass" if same(wanted, value) else "fix"


def test_there_are_118_controls() -> None:
    """The loader accepts all of them, and refuses an id that is used twice."""
    assert len(load_controls()) == 118


def test_ids_are_kebab_case_with_a_known_prefix() -> None:
    """Ids can be typed, sorted and told apart by what they are about."""
    wrong = [one.id for one in controls() if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", one.id)]
    assert not wrong
    assert not [one.id for one in controls() if not one.id.startswith(PREFIXES)]


def test_numbers_are_unique_in_each_benchmark() -> None:
    """No two controls claim the same number of a benchmark."""
    pairs = [pair for one in controls() for pair in one.benchmarks.items()]
    assert sorted(set(pairs)) == sorted(pairs)


def test_numbers_are_numbers() -> None:
    """A number that lost its quotes in YAML (5.10 read as 5.1) does not get through."""
    for control in controls():
        assert {"cis-docker-1.8.0"} <= control.benchmarks.keys()
        for number in control.benchmarks.values():
            assert re.fullmatch(r"\d+(\.\d+){1,2}", number), control.id


def test_rows_and_controls_have_the_same_numbers() -> None:
    """Each recommendation is exactly one control, with the same number in every benchmark."""
    expected = [
        {version.replace("cis-", "cis-docker-"): row[version] for version in VERSIONS if row[version]} for row in rows()
    ]
    actual = [control.benchmarks for control in controls()]
    assert sorted(map(str, expected)) == sorted(str(dict(sorted(one.items()))) for one in actual)


def test_threats_agree_with_the_list() -> None:
    """Each control names the threat that the list gives by its letter."""
    wrong = [one.id for row, one in paired() if LETTERS[row["stride"]] != one.stride]
    assert not wrong


def test_remedies_agree_with_the_list() -> None:
    """What the list calls fixable is, what it calls manual is left to a person."""
    wrong = []
    for row, control in paired():
        remedy = row["remedy"]
        fixable = control.expect is not None and control.safety is not Safety.MANUAL
        if row["kind"] != "swarm" and remedy.startswith("yes") and not fixable:
            wrong.append(control.id)
        if remedy.startswith("manual") and control.safety is not Safety.MANUAL:
            wrong.append(control.id)
        if ("tailored" in remedy) != bool(control.tailored):
            wrong.append(control.id)
    assert not wrong


def test_disruptions_agree_with_the_list() -> None:
    """Where the list says what a change disrupts, the control says the same."""
    wrong = []
    for row, control in paired():
        word = row["disruption"].split(" ")[0]
        if word != "-" and Disruption(word) is not control.disruption:
            wrong.append(control.id)
    assert not wrong


def test_only_what_the_daemon_reloads_is_called_reload() -> None:
    """A daemon control says reload exactly when SIGHUP applies its key."""
    daemon = [one for one in controls() if one.kind == "daemon"]
    reloads = {one.id for one in daemon if one.disruption is Disruption.RELOAD}
    applied = {one.id for one in daemon if one.path.removeprefix("/") in RELOADABLE}
    assert applied == reloads
    assert {"docker-insecure-registries", "docker-live-restore"} == reloads
    assert not {one.id for one in controls() if one.kind != "daemon" and one.disruption is Disruption.RELOAD}


def test_daemon_controls_know_the_engines_default() -> None:
    """A daemon control that judges a key says what holds when it is not set, in the type of the key."""
    for control in controls():
        if control.kind == "daemon" and control.expect is not None:
            assert control.default is not msgspec.UNSET, control.id
            assert control.path.startswith("/"), control.id
        else:
            assert control.default is msgspec.UNSET, control.id


def test_controls_without_expect_are_a_persons() -> None:
    """Where nothing is said of what is right, nothing is changed, and the text says where to look."""
    for control in controls():
        if control.expect is None:
            assert Safety.MANUAL is control.safety, control.id
            assert control.manual, control.id


def test_what_a_person_has_to_do_is_written_down() -> None:
    """Manual controls and those whose operators know no fix say what to look at."""
    missing = [
        one.id
        for one in controls()
        if (one.safety is Safety.MANUAL or NO_NATURAL_FIX & (one.expect or {}).keys()) and not one.manual
    ]
    assert not missing


def test_unsafe_and_manual_controls_say_what_they_cost() -> None:
    """Nobody is asked to agree to a change without being told what it may break."""
    assert not [one.id for one in controls() if one.safety is not Safety.SAFE and not one.why]


def test_controls_of_paths_name_a_resource() -> None:
    """Kinds with more than one resource per host say which one they judge."""
    for control in controls():
        if control.kind in ("file", "audit_rule", "env", "group"):
            assert re.fullmatch(r"/\S+|\{[a-z:.0-9-]+\}|docker", control.resource), control.id
        else:
            assert not control.resource, control.id


def test_every_rationale_is_one_or_two_plain_sentences() -> None:
    """Texts are there, short, in ASCII, and end as sentences do."""
    for control in controls():
        assert len(control.title) <= 80 and not control.title.endswith("."), control.id
        assert 30 <= len(control.rationale) <= 400, control.id
        for text in texts(control):
            assert text.isascii() and text == text.strip() and "\n" not in text, control.id
        for text in (control.rationale, control.why, control.manual):
            assert not text or text.endswith("."), control.id


def test_titles_are_unique() -> None:
    """Two lines of a report never read the same."""
    titles = [one.title for one in controls()]
    assert sorted(set(titles)) == sorted(titles)


def test_texts_are_our_own() -> None:
    """No wording of the benchmark's titles gets in."""
    assert not [one.id for one in controls() for text in texts(one) if re.search(r"\bensure", text, re.I)]


def test_texts_hold_no_templates_and_no_shell() -> None:
    """Commands are argument lists, and nothing in a text is a template when it lands in a playbook."""
    for control in controls():
        for text in texts(control):
            assert "{{" not in text and "{%" not in text, control.id
            assert text.count("`") % 2 == 0, control.id
            for command in re.findall(r"`([^`]*)`", text):
                assert not re.search(r"[|;&<>$]", command), control.id


@pytest.mark.parametrize("name", sorted(load_controls()))
def test_projections_are_idempotent_on_absent_keys_and_defaults(name: str) -> None:
    """What a control calls right for a key that is not set stays right."""
    control = load_controls()[name]
    if control.expect is None:
        return
    values = [ABSENT] if control.default is msgspec.UNSET else [ABSENT, control.default]
    for value in values:
        wanted = project(control.expect, value)
        if wanted is not NO_FIX:
            assert same(wanted, project(control.expect, wanted))


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("docker-icc", "fix"),
        ("docker-log-level", "pass"),
        ("docker-iptables", "pass"),
        ("docker-insecure-registries", "pass"),
        ("docker-no-aufs", "pass"),
        ("docker-no-devicemapper", "pass"),
        ("docker-tlsverify", "fix"),
        ("docker-default-ulimits", "fix"),
        ("docker-userns-remap", "no fix"),
        ("docker-cgroup-parent", "pass"),
        ("docker-dm-basesize", "pass"),
        ("docker-authorization-plugins", "no fix"),
        ("docker-log-driver", "no fix"),
        ("docker-no-new-privileges", "fix"),
        ("docker-live-restore", "fix"),
        ("docker-userland-proxy", "fix"),
        ("docker-seccomp-profile", "pass"),
        ("docker-experimental", "pass"),
    ],
)
def test_a_fresh_engine_is_judged_by_its_defaults(name: str, verdict: str) -> None:
    """An engine without any settings fails and passes what it should."""
    assert verdict == judged(name, load_controls()[name].default)


@pytest.mark.parametrize(
    ("image", "verdict"),
    [
        ("nginx", "fix"),
        ("nginx:latest", "fix"),
        ("registry.example:5000/team/app", "fix"),
        ("registry.example:5000/team/app:latest", "fix"),
        ("app@sha256:abc", "fix"),
        ("nginx:1.27.3", "pass"),
        ("nginx:latest-alpine", "pass"),
        ("registry.example:5000/team/app:2024.1_rc1", "pass"),
        ("nginx@sha256:" + 64 * "a", "pass"),
        ("nginx:latest@sha256:" + 64 * "0", "pass"),
        ("sha256:" + 64 * "f", "pass"),
    ],
)
def test_images_are_pinned_by_tag_or_digest(image: str, verdict: str) -> None:
    """A registry's port is no tag, and a digest outweighs the tag beside it."""
    assert verdict == judged("container-image-pinned", image)


@pytest.mark.parametrize(
    ("user", "verdict"),
    [
        ("", "no fix"),
        ("root", "no fix"),
        ("0", "no fix"),
        ("0:0", "no fix"),
        ("root:root", "no fix"),
        ("0:1000", "no fix"),
        ("00", "no fix"),
        ("1000", "pass"),
        ("1000:0", "pass"),
        ("nobody", "pass"),
        ("rootless", "pass"),
        ("0day", "pass"),
    ],
)
def test_root_is_known_by_name_and_number(user: str, verdict: str) -> None:
    """A group beside it does not hide root, and a name that begins like it is not root."""
    assert verdict == judged("container-user", user)


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("container-healthcheck", None, "no fix"),
        ("container-healthcheck", {"Test": ["NONE"]}, "no fix"),
        ("container-healthcheck", {"Test": ["CMD", "true"]}, "pass"),
        ("container-capabilities", [], "pass"),
        ("container-capabilities", ["NET_ADMIN"], "fix"),
        ("container-docker-socket", [{"Source": "/var/run/docker.sock"}], "no fix"),
        ("container-docker-socket", [{"Source": "/srv/data"}], "pass"),
        ("container-sensitive-mounts", [{"Source": "/etc"}], "no fix"),
        ("container-sensitive-mounts", [{"Source": "/etc/localtime"}], "pass"),
        ("container-mount-propagation", [{"Propagation": "rshared"}], "fix"),
        ("container-mount-propagation", [{"Propagation": "rprivate"}, {"Propagation": ""}], "pass"),
        ("container-privileged-ports", [{"HostPort": 443}], "no fix"),
        ("container-privileged-ports", [{"HostPort": 1024}], "pass"),
        ("container-bound-address", [{"HostIp": "0.0.0.0"}], "no fix"),  # noqa: S104 - judged, not bound
        ("container-bound-address", [{"HostIp": "127.0.0.1"}], "pass"),
        ("container-default-bridge", "bridge", "fix"),
        ("container-default-bridge", "app_net", "pass"),
        ("container-restart-policy", {"Name": "no", "MaximumRetryCount": 0}, "pass"),
        ("container-restart-policy", {"Name": "on-failure", "MaximumRetryCount": 3}, "pass"),
        ("container-restart-policy", {"Name": "always", "MaximumRetryCount": 0}, "fix"),
        ("container-pids", None, "fix"),
        ("container-pids", 100, "pass"),
        ("container-no-new-privileges", ["seccomp=unconfined"], "fix"),
        ("container-seccomp", ["no-new-privileges"], "pass"),
        ("docker-insecure-registries", ["127.0.0.0/8", "registry.example:5000"], "fix"),
        ("file-tls-key-mode", "0440", "fix"),
        ("file-etc-docker-mode", "0700", "pass"),
        ("audit-runc", "rwxa", "pass"),
        ("audit-runc", "wa", "fix"),
        ("env-content-trust", "0", "fix"),
        ("swarm-cert-expiry", 7776000000000000, "pass"),
        ("swarm-cert-expiry", 7776000000000001, "fix"),
    ],
)
def test_values_seen_on_hosts_are_judged_right(name: str, value: Any, verdict: str) -> None:
    """Values as engines give them pass or fail as an operator would say."""
    assert verdict == judged(name, value)
