"""The table of dockerd's options is proven against engines: each bad configuration fails there, each good one works."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from remediator import kinds
from remediator.collect import fleet, local
from remediator.edited import join
from remediator.model import Disruption, HostState, Safety
from remediator.plan import candidate
from remediator.plan.model import HostPlan, Policy
from remediator.plan.plan import plan_host
from tests.cases import Configuration, configurations
from tests.lab import recipe
from tests.lab.host import Host
from tests.lab.recipe import GENERATIONS
from tests.lab.test_generations_fleet import CONFIG, DROP_IN, OPTIONS, Fleet, dockerd, host_plan, icc_in_effect
from tests.unit.host import baseline

pytestmark = pytest.mark.lab
pytest_plugins = ["tests.lab.test_generations_fleet"]

CASES = configurations()
ENGINES = tuple(GENERATIONS)


def tried(number: int, case: Configuration, generation: str) -> bool:
    """Whether a case is tried on an engine: where only a container shows the fault, on one of them, by turns."""
    if generation not in case.ends:
        return False
    ends = [engine for engine in ENGINES if case.ends.get(engine) == "run"]
    return not ends or case.ends[generation] != "run" or ends[number % len(ends)] == generation


PROGRAM = Path(__file__).with_name("trial_dockerd.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def trials(fleet: Fleet) -> dict[str, dict[str, dict[str, Any]]]:
    """What became of a second dockerd with each configuration, on each engine: {generation: {name: {...}}}."""

    def all_of(host: Host) -> dict[str, dict[str, Any]]:
        wanted = [
            {
                "name": one.name,
                "config": one.config,
                "flags": one.flags,
                "run": one.ends[host.generation] == "run" or one.name.startswith("good: "),
                "image": f"/{recipe.IMAGE_TAR}",
            }
            for number, one in enumerate(CASES)
            if tried(number, one, host.generation)
        ]
        host.write("/run/trial_dockerd.py", PROGRAM)
        done = host.run(["python3", "/run/trial_dockerd.py"], input=json.dumps(wanted), timeout=600)
        found: dict[str, dict[str, Any]] = json.loads(done.stdout)
        return found

    return fleet.each(all_of)


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_engines_do_what_the_cases_say(trials: dict[str, dict[str, dict[str, Any]]], case: Configuration) -> None:
    """A real start: refused, or up and no container runs, or all well."""
    seen_on = {one: case.ends[one] for one in case.ends if case.name in trials[one]}
    assert seen_on
    for generation, end in seen_on.items():
        seen = trials[generation][case.name]
        assert (end != "start") is seen["started"], (generation, seen)
        if end == "run":
            assert seen["ran"], generation
        elif case.name.startswith("good: "):
            assert seen["ran"] == "", generation


def test_the_second_daemons_left_the_first_alone(trials: Any, fleet: Fleet) -> None:
    """The host's own engine answers, and nothing of the others is left."""
    for host in fleet.hosts.values():
        assert host.docker("info", check=False).returncode == 0
        assert int(host.run(["pgrep", "-c", "dockerd"]).stdout) == 1


# --- a flag is fixed where it stands ----------------------------------------------------------------

LINE = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"
DROPPED = f"# ours\n[Service]\nExecStart=\nExecStart={LINE} \\\n  --icc=true \\\n  $DOCKER_OPTS\n"
GIVEN = '# ours\nDOCKER_OPTS="--userland-proxy=true --mtu=1400"\n'
CONTROLS = ("docker-icc", "docker-userland-proxy", "docker-no-new-privileges")


def look(host: Host) -> HostState:
    """The host's state, as the probe on it finds it."""
    return kinds.state(collected(host))


def collected(host: Host) -> dict[str, Any]:
    """What the probe brings when it runs on the host itself."""
    folder = Path(local.__file__).parent
    host.run(["mkdir", "-p", "/run/probe/remediator_probe"])
    for name in fleet.PROBE:
        source = (folder / f"{name}.py").read_text(encoding="utf-8")
        host.write(f"/run/probe/remediator_probe/{name}.py", source)
    code = (
        "import json, sys; sys.path.insert(0, '/run/probe')\n"
        "from remediator_probe import api, owners, probe\n"
        "request = json.load(sys.stdin)\n"
        "found = probe.collect(request, api.ApiEngine(10))\n"
        "found['owners'] = owners.gather(request, found['engine'])\n"
        "json.dump(found, sys.stdout)\n"
    )
    found: dict[str, Any] = json.loads(host.run(["python3", "-c", code], input=json.dumps(kinds.request())).stdout)
    return found


def make(host: Host) -> HostPlan:
    """The plan for the flags of the host."""
    return plan_host(look(host), baseline(*CONTROLS), Policy(Safety.UNSAFE, Disruption.RESTART))


@dataclass(frozen=True)
class Fixed:
    """What the plan was, what the engine said of it, and the host after it."""

    plan: HostPlan
    said: str
    texts: dict[str, str]
    after: HostPlan
    argv: list[str]
    icc: bool


@pytest.fixture(scope="module")
def fixed(fleet: Fleet, trials: Any) -> dict[str, Fixed]:
    """Flags in a drop-in and in /etc/default/docker: planned, tried, written, restarted, and looked at again."""
    fleet.reset(files={DROP_IN: DROPPED, OPTIONS: GIVEN})

    def fix(host: Host) -> Fixed:
        plan = make(host)
        activation = plan.steps.activation
        said = ""
        if activation.validate:
            new = next(one.content for one in plan.steps.files if one.path == CONFIG)
            host.write("/run/candidate.json", new)
            words = [one.replace(candidate.CANDIDATE, "/run/candidate.json") for one in activation.validate]
            said = host.run(words).stderr
        for edit in plan.steps.files:
            host.write(edit.path, join(list(edit.pieces), host.read(edit.path)) if edit.masked else edit.content)
        assert activation.reload_units
        host.run(["systemctl", "daemon-reload"])
        host.restart_docker()
        argv = host.read(f"/proc/{dockerd(host)}/cmdline").split("\0")
        texts = {path: host.read(path) for path in (DROP_IN, OPTIONS)}
        return Fixed(plan, said, texts, make(host), argv, icc_in_effect(host))

    return fleet.each(fix)


def test_flags_are_fixed_where_they_stand(fixed: dict[str, Fixed], generation: str) -> None:
    """The daemon starts with the new values, all else is as it was, and nothing is left to do."""
    plan, texts, after = fixed[generation].plan, fixed[generation].texts, fixed[generation].after
    argv, icc = fixed[generation].argv, fixed[generation].icc
    assert [one.reason for one in plan.held] == []
    assert texts[DROP_IN] == DROPPED.replace("--icc=true", "--icc=false")
    assert texts[OPTIONS] == GIVEN.replace("proxy=true", "proxy=false")
    assert {"--icc=false", "--userland-proxy=false", "--mtu=1400"} <= set(argv)
    assert not icc
    assert (after.changes, after.held) == ((), ())


def test_the_candidate_is_tried_by_the_engine_itself(fixed: dict[str, Fixed], generation: str) -> None:
    """`dockerd --validate` with the flags of the next start, where the engine has it."""
    said = fixed[generation].said
    words = fixed[generation].plan.steps.activation.validate
    assert bool(words) is (generation != "20.10")
    if words:
        assert "--icc=false" in words
        assert "configuration OK" in said
        assert shlex.join(words).startswith(LINE)


def test_an_edit_that_someone_made_by_hand_is_never_brought_into_effect(fleet: Fleet, fixed: Any) -> None:
    """The daemon runs on with what it read; the plan says what is wrong in the file, and where."""
    fleet.each(lambda host: host.write(CONFIG, '{\n  "no-new-privileges": true,\n  "shutdown-timeout": "9"\n}\n'))
    plans = {one: host_plan(look(host)) for one, host in fleet.hosts.items()}
    for plan in plans.values():
        assert plan.steps.activation.action == "none"
        told = f"{CONFIG}:3: shutdown-timeout: has to be a whole number: the daemon does not start with it"
        assert told in [one.reason for one in plan.held]
