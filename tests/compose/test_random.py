"""Random projects in random styles: what is patched is what was asked for, and nothing besides."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator import compose
from remediator.compose.document import read
from remediator.errors import InputError
from remediator.expect import same
from remediator.patch import get
from tests.compose.corpus import changes, differences, loaded

CAPABILITIES: Final = ["SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SYS_TIME"]
OPTIONS: Final = ["seccomp:unconfined", "label:disable", "apparmor:unconfined"]
NAMES: Final = ["web", "db", "worker-1", "a.b"]

flags = st.booleans()
services = st.fixed_dictionaries(
    {"image": st.sampled_from(["nginx:1.27", "registry.example.org:5000/a/b", "x@sha256:" + "0" * 64])},
    optional={
        "privileged": flags,
        "read_only": flags,
        "cap_add": st.lists(st.sampled_from(CAPABILITIES), min_size=1, max_size=4, unique=True),
        "security_opt": st.lists(st.sampled_from(OPTIONS), min_size=1, max_size=3, unique=True),
        "pid": st.just("host"),
        "restart": st.sampled_from(["always", "no", "on-failure:9"]),
        "mem_limit": st.sampled_from(["64m", 1000000000]),
        "tmpfs": st.lists(st.sampled_from(["/run", "/tmp:size=1m"]), min_size=1, max_size=2, unique=True),
        "environment": st.dictionaries(
            st.sampled_from(["A", "B", "C"]),
            st.sampled_from(
                ["", "a: b # c", "'", '"', "- x", "{{ x }}", "é😀", "yes", "1e3", "a\tb", "$$HOME", "*a", "&b"]
            ),
            max_size=3,
        ),
        "deploy": st.sampled_from(
            [{"replicas": 2}, {"restart_policy": {"condition": "any"}}, {"resources": {"reservations": {"cpus": "1"}}}]
        ),
        "ulimits": st.sampled_from([{"nofile": 1024}, {"nproc": {"soft": 1, "hard": 2}, "nofile": 5}]),
    },
)
wanted = st.fixed_dictionaries(
    {},
    optional={
        "/HostConfig/Privileged": flags,
        "/HostConfig/ReadonlyRootfs": flags,
        "/HostConfig/CapAdd": st.lists(st.sampled_from(CAPABILITIES), max_size=3, unique=True),
        "/HostConfig/SecurityOpt": st.sampled_from(
            [[], ["no-new-privileges"], ["label=disable"], ["label=disable", "no-new-privileges"]]
        ),
        "/HostConfig/PidMode": st.sampled_from(["", "host"]),
        "/HostConfig/Memory": st.sampled_from([2**27, 2**30, 123456789]),
        "/HostConfig/PidsLimit": st.integers(1, 500),
        "/HostConfig/CpuShares": st.integers(2, 2000),
        "/HostConfig/RestartPolicy": st.just({"Name": "on-failure", "MaximumRetryCount": 5}),
        "/HostConfig/Tmpfs": st.sampled_from([{}, {"/tmp": ""}, {"/run": "", "/tmp": "size=1m"}]),
        "/HostConfig/Ulimits": st.sampled_from([[], [{"Name": "nofile", "Soft": 7, "Hard": 9}]]),
        "/Config/User": st.sampled_from(["1000", "app:app", "1000:1000"]),
    },
)


class Writer:
    """Writes documents as YAML in a style of its own for each value."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.unit = random.choice([1, 2, 4])
        self.dash = random.choice([0, self.unit])

    def scalar(self, value: Any) -> str:
        if not isinstance(value, str):
            text = json.dumps(value)
            return json.dumps(text) if isinstance(value, bool) and self.random.random() < 0.1 else text
        plain = value and value.replace("/", "").replace(":", "").replace("_", "").replace("-", "").isalnum()
        styles = (
            ["double"]
            + ["single"] * ("\t" not in value)
            + ["plain"] * bool(plain and value not in ("no", "yes", "1e3"))
        )
        style = self.random.choice(styles)
        if style == "single":
            return "'" + value.replace("'", "''") + "'"
        return value if style == "plain" else json.dumps(value, ensure_ascii=False)

    def inline(self, value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key}: {self.inline(one)}" for key, one in value.items()) + "}"
        if isinstance(value, list):
            return "[" + self.random.choice([", ", " , "]).join(self.inline(one) for one in value) + "]"
        return self.scalar(value)

    def comment(self) -> str:
        return self.random.choice(["", "", "  # why: [a] {b} 'c'"])

    def lines(self, value: dict[str, Any], indent: int) -> list[str]:
        found = []
        for key, one in value.items():
            found += [self.random.choice(["", " " * indent + "# about " + key])] * (self.random.random() < 0.2)
            name = " " * indent + (f'"{key}"' if self.random.random() < 0.1 else key) + ":"
            if isinstance(one, dict | list) and (not one or self.random.random() < 0.3):
                found.append(f"{name} {self.inline(one)}{self.comment()}")
            elif isinstance(one, dict):
                found += [name + self.comment(), *self.lines(one, indent + self.unit)]
            elif isinstance(one, list):
                lead = " " * (indent + self.dash)
                found += [name, *(f"{lead}- {self.scalar(item)}{self.comment()}" for item in one)]
            else:
                found.append(f"{name} {self.scalar(one)}{self.comment()}")
        return found


@st.composite
def projects(draw: st.DrawFn) -> str:
    """The text of a project; its services may take some of their settings from one fragment."""
    made = draw(st.dictionaries(st.sampled_from(NAMES), services, min_size=1, max_size=3))
    writer = Writer(draw(st.randoms(use_true_random=False)))
    head: list[str] = []
    if draw(flags):
        fragment = {key: one for key, one in draw(services).items() if key != "image"} or {"init": True}
        head = ["x-base: &base", *writer.lines(fragment, writer.unit)]
    lines = [*head, "services:"]
    for name, one in made.items():
        lines.append(" " * writer.unit + f"{name}:" + writer.comment())
        merged = draw(flags)
        if head and merged:
            lines.append(" " * 2 * writer.unit + "<<: *base")
        lines += writer.lines(one, 2 * writer.unit)
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return draw(st.sampled_from(["", "\ufeff"])) + end.join(lines) + draw(st.sampled_from(["", end, end * 2]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=projects(), some=wanted, at=st.integers(0, 2))
def test_any_project_gets_the_changes_that_are_not_refused(text: str, some: dict[str, Any], at: int) -> None:
    """The document has the wanted values, another reader sees just this service change, twice is once."""
    project = compose.load({"compose.yml": text}, ["compose.yml"], ".", {})
    service = list(project.services)[at % len(project.services)]
    made = compose.patch(project, service, changes(project, service, some))
    refused = {one.path for one, _ in made.refused}
    before, after = read(project, service)[0], read(made.project, service)[0]
    for pointer, value in some.items():
        expected = get(before, pointer) if pointer in refused else value
        found = get(after, pointer)
        if isinstance(value, list) and value and isinstance(value[0], str):
            assert sorted(expected) == sorted(found), pointer
        else:
            assert same(expected, found), pointer
    seen = differences(loaded(text), loaded(made.project.texts["compose.yml"]))
    fragments = [one for one in seen if one.startswith("x-base.")]
    assert [one for one in seen if not one.startswith((f"services.{service}.", "x-base."))] == []
    assert len(seen) - len(fragments) <= 2 * len(some)
    kept = {one: value for one, value in some.items() if one not in refused}
    assert not compose.patch(made.project, service, changes(made.project, service, kept)).texts
    ends = ("\r\n" in text, text.startswith("\ufeff"))
    now = made.project.texts["compose.yml"]
    assert ends == ("\r\n" in now, now.startswith("\ufeff"))
    assert now.replace("\r\n", "").count("\n") == (0 if "\r\n" in text else now.count("\n"))


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from(list("abc:-#[]{}&*!|>'\"%@`,? \n\t\r$")), max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever stands in a file, it is a project or an error for the reader."""
    try:
        project = compose.load({"c.yml": "services:\n  a:\n    image: x\n    " + text}, ["c.yml"], ".", {})
    except InputError:
        return
    for name in project.services:
        compose.document(project, name)
