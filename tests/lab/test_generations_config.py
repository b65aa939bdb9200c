"""daemon.json and the daemon's flags on each engine generation: what the engine refuses, and what is done about it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from remediator.collect import local, probe
from remediator.dockerd import options
from remediator.model import Disruption, HostState, Outcome
from remediator.plan.model import HostPlan
from tests.lab.host import Host
from tests.lab.test_generations_fleet import (
    CONFIG,
    DROP_IN,
    OPTIONS,
    Fleet,
    controls,
    dockerd,
    host_plan,
    outcome,
    planned,
    reason,
)

pytestmark = pytest.mark.lab
pytest_plugins = ["tests.lab.test_generations_fleet"]

TRIAL = "/run/trial"
FLAG = "the following directives are specified both as a flag and in the configuration file: "
UNKNOWN = "the following directives don't match any configuration option: "
ICC = "You specified --iptables=false with --icc=false"
# name: (daemon.json, flags, what every engine answers); each ends dockerd before it does anything
REFUSED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "hosts": ('{"hosts": ["unix:///x"]}', (), FLAG + "hosts:"),
    "containerd": ('{"containerd": "/x"}', ("--containerd=/run/containerd/containerd.sock",), FLAG + "containerd:"),
    "labels": ('{"labels": ["a=b"]}', ("--label", "c=d"), FLAG + "labels:"),
    "default-ulimits": ('{"default-ulimits": {}}', ("--default-ulimit", "nofile=1:2"), FLAG + "default-ulimits:"),
    "the same value": ('{"icc": true}', ("--icc=true",), FLAG + "icc:"),
    "unknown key": ('{"no-such-key": 1}', (), UNKNOWN + "no-such-key"),
    "other case": ('{"Live-Restore": true}', (), UNKNOWN + "Live-Restore"),
    "content-trust": ('{"content-trust": {"mode": "enforced"}}', (), UNKNOWN + "mode"),
    "not JSON": ('{"debug": true', (), "unable to configure the Docker daemon with file"),
    "not an object": ("[]", (), "cannot unmarshal array"),
    "wrong type": ('{"live-restore": "yes"}', (), "cannot unmarshal string"),
    "icc": ('{"icc": false, "iptables": false}', (), ICC),
}


def trial(host: Host, text: str, *more: str) -> str:
    """What a second dockerd says of a configuration that it does not start with."""
    host.write(f"{TRIAL}/daemon.json", text)
    own = ("--pidfile", f"{TRIAL}/pid", "--data-root", f"{TRIAL}/data", "--exec-root", f"{TRIAL}/exec")
    argv = ["timeout", "8", "dockerd", "--config-file", f"{TRIAL}/daemon.json", *own, "-H", f"unix://{TRIAL}/sock"]
    done = host.run([*argv, *more], check=False)
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def refusals(fleet: Fleet) -> dict[str, dict[str, str]]:
    """What each engine says of each bad configuration."""
    return fleet.each(lambda host: {name: trial(host, text, *more) for name, (text, more, _) in REFUSED.items()})


@pytest.mark.parametrize("name", REFUSED)
def test_the_engine_does_not_start_with(refusals: dict[str, dict[str, str]], generation: str, name: str) -> None:
    """The configurations that the product must never make, and must not restart a daemon with."""
    assert REFUSED[name][2] in refusals[generation][name]


def test_an_empty_file_stops_only_the_oldest(fleet: Fleet, generation: str) -> None:
    """An empty daemon.json stops 20.10; later engines take it (the restart story starts with one)."""
    if generation == "20.10":
        assert "EOF" in trial(fleet.hosts[generation], "")


def test_the_known_keys_are_those_of_the_engines(fleet: Fleet) -> None:
    """Each engine takes the keys that the table says, and no other, and has none but the table's flags."""
    names = {one.key or one.flag for one in options.OPTIONS} | {one.flag for one in options.OPTIONS if one.flag}
    text = json.dumps(dict.fromkeys(sorted(names), "x"))
    answers = fleet.each(lambda host: trial(host, text).partition(UNKNOWN)[2].strip().rstrip('"').split(", "))
    helps = fleet.each(lambda host: host.run(["dockerd", "--help"]).stdout)
    for generation, refused in answers.items():
        number = options.engine(generation).generation
        taken = {*options.KEYS[number], *options.FLAGS[number]} - {"proxies"}  # its value must be an object
        assert names - taken - {"proxies"} == set(refused) - {"proxies"}, generation
        told = set(re.findall(r"^ +(?:-\w, +)?--([a-z0-9-]+)", helps[generation], re.MULTILINE))
        assert told - set(options.FLAGS[number]) == set(), generation


def test_validate_proves_nothing(fleet: Fleet, generation: str) -> None:
    """`dockerd --validate` is not there in 20.10, and later passes what no daemon starts with."""
    host = fleet.hosts[generation]
    host.write(f"{TRIAL}/daemon.json", '{"icc": false, "iptables": false, "hosts": ["unix:///x"]}')
    done = host.run(["dockerd", "--validate", "--config-file", f"{TRIAL}/daemon.json"], check=False)
    assert (done.returncode == 0) is (generation != "20.10")


# --- keys that flags set ----------------------------------------------------------------------------

START = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"
FLAGS = f"""# ours
[Service]
ExecStart=
ExecStart={START} \\
  --userland-proxy=true -l warn \\
  --label tier=web $DOCKER_OPTS
"""


@dataclass(frozen=True)
class Flagged:
    """A host whose daemon has flags, before and after an apply."""

    before: HostState
    plan: HostPlan
    fixed: list[str]
    errors: tuple[str, ...]
    config: dict[str, Any]
    restarted: bool


@pytest.fixture(scope="module")
def flagged(fleet: Fleet) -> dict[str, Flagged]:
    """Flags in a drop-in and in /etc/default/docker, and everything applied that a restart may do."""
    files = {DROP_IN: FLAGS, OPTIONS: '# ours\n\nDOCKER_OPTS="--icc=true --default-ulimit nofile=1024:2048"\n'}
    fleet.reset(files=files)
    pids, states = fleet.each(dockerd), fleet.look()
    baseline = fleet.baseline("docker-no-new-privileges", "docker-live-restore")
    path, plans = fleet.plan(baseline, "restart")
    done = fleet.apply(path)

    def told(host: Host) -> Flagged:
        one = host.generation
        config, again = json.loads(host.read(CONFIG)), dockerd(host) != pids[one]
        return Flagged(states[one], plans[one], controls(done[one].fixed), done[one].errors, config, again)

    return fleet.each(told)


def test_flags_are_known_by_their_keys(flagged: dict[str, Flagged], generation: str) -> None:
    """The unit's own flags, a drop-in's and those in the options file: by key, with file and line."""
    (fact,) = flagged[generation].before.facts["daemon"].values()
    where = {key: one["where"] for key, one in fact.evidence["flags"].items()}
    assert where == {
        "hosts": f"{DROP_IN}:4",
        "containerd": f"{DROP_IN}:4",
        "userland-proxy": f"{DROP_IN}:5",
        "log-level": f"{DROP_IN}:5",
        "labels": f"{DROP_IN}:6",
        "icc": f"{OPTIONS}:3",
        "default-ulimits": f"{OPTIONS}:3",
    }


def test_flags_are_judged_in_effect(flagged: dict[str, Flagged], generation: str) -> None:
    """What a flag sets counts as set, for good and for bad."""
    state = flagged[generation].before
    assert outcome(state, "docker-default-ulimits").outcome is Outcome.PASS
    assert outcome(state, "docker-icc").reason == "is true by --icc"
    assert outcome(state, "docker-log-level").reason == 'is "warn" by --log-level'


def test_keys_of_flags_are_fixed_where_they_stand(flagged: dict[str, Flagged], generation: str) -> None:
    """A key that a flag sets is not given to the file: its flag is edited, and the change says which, and where."""
    plan = host_plan(flagged[generation].before, "restart")
    flags = {one.path: one.flag for one in plan.changes if one.flag}
    assert flags == {
        "/icc": f"--icc in {OPTIONS}:3",
        "/userland-proxy": f"--userland-proxy in {DROP_IN}:5",
        "/log-level": f"--log-level in {DROP_IN}:5",
    }
    assert sorted(planned(flagged[generation].plan)) == ["/live-restore", "/no-new-privileges"]


def test_the_daemon_starts_after_an_apply_beside_flags(flagged: dict[str, Flagged], generation: str) -> None:
    """The rest is applied by a restart, and daemon.json has none of the flags' keys."""
    after = flagged[generation]
    assert after.errors == ()
    assert after.fixed == ["docker-live-restore", "docker-no-new-privileges"]
    assert after.config == {"live-restore": True, "no-new-privileges": True}
    assert after.restarted


# --- what was changed since the daemon started, and would stop it ------------------------------------


@dataclass(frozen=True)
class Late:
    """The plans of a host for what someone wrote after the daemon's start."""

    flag: HostPlan
    conflict: HostPlan
    unknown: HostPlan


@pytest.fixture(scope="module")
def late(fleet: Fleet) -> dict[str, Late]:
    """A flag in a drop-in, a key of the unit's own flag, unknown keys: all written while the daemon runs."""
    fleet.reset()
    flag = f"[Service]\nExecStart=\nExecStart={START} --icc=true\n"
    plans = []
    for path, text in (
        (DROP_IN, flag),
        (CONFIG, '{"hosts": ["unix:///run/docker.sock"]}\n'),
        (CONFIG, '{"Icc": false, "no-such-key": 1}\n'),
    ):

        def write(host: Host, path: str = path, text: str = text) -> None:
            host.run(["rm", "-rf", DROP_IN, CONFIG])
            host.write(path, text)
            host.run(["systemctl", "daemon-reload"])

        fleet.each(write)
        plans.append({one: host_plan(state, "restart") for one, state in fleet.look().items()})
    return {one: Late(*(some[one] for some in plans)) for one in fleet.hosts}


def test_a_flag_of_the_next_start_is_edited_there(late: dict[str, Late], generation: str) -> None:
    """A flag that the daemon will only start with next time is a conflict already."""
    (icc,) = [one for one in late[generation].flag.changes if one.path == "/icc"]
    assert icc.flag == f"--icc in {DROP_IN}:3"
    assert "/no-new-privileges" in planned(late[generation].flag)


def test_a_daemon_that_would_not_start_again_is_not_restarted(late: dict[str, Late], generation: str) -> None:
    """With a flag's key or an unknown one in a file that the daemon has not read yet, nothing is done to it."""
    for plan in (late[generation].conflict, late[generation].unknown):
        assert planned(plan) == []
        assert plan.steps.activation.action == "none"
    told = reason(late[generation].conflict, "docker-icc")
    assert told.startswith(f"{CONFIG} and --host in /")
    assert "/docker.service:" in told
    assert told.endswith("both set hosts: the daemon does not start with both")
    told = reason(late[generation].unknown, "docker-live-restore")
    assert told == f"{CONFIG}:1: Icc: is no option of this engine: the daemon does not start with it"


# --- a file that is no configuration ----------------------------------------------------------------


@dataclass(frozen=True)
class Broken:
    """A host whose daemon.json is not JSON, while the daemon still runs and when it does not start."""

    reload: int
    journal: str
    running: HostState
    restart: int
    down: HostState


@pytest.fixture(scope="module")
def broken(fleet: Fleet) -> dict[str, Broken]:
    """A file that no engine reads, then a reload and a restart."""
    fleet.reset()

    def reload(host: Host) -> tuple[int, str]:
        host.write(CONFIG, '{"icc": false,\n')
        code = host.run(["systemctl", "reload", "docker"], check=False).returncode
        journal = ["journalctl", "--unit", "docker", "--output", "cat", "--since", "-10s"]
        host.run(["timeout", "5", "sh", "-c", f"until {' '.join(journal)} | grep -q level=error; do sleep 0.1; done"])
        return code, host.run(journal).stdout

    reloads, running = fleet.each(reload), fleet.look()
    restarts = fleet.each(lambda host: host.run(["systemctl", "restart", "docker"], check=False).returncode)
    down = fleet.look()
    return {one: Broken(*reloads[one], running[one], restarts[one], down[one]) for one in fleet.hosts}


def test_a_reload_that_failed_returns_nothing_but_zero(broken: dict[str, Broken], generation: str) -> None:
    """Only the journal has the error, and the daemon runs on."""
    assert broken[generation].reload == 0
    assert "unable to configure the Docker daemon with file /etc/docker/daemon.json" in broken[generation].journal
    assert broken[generation].restart != 0


def test_a_file_that_is_no_json_makes_no_patch(broken: dict[str, Broken], generation: str) -> None:
    """Every control of the daemon is unknown, with the place of the error, and nothing is planned."""
    found = outcome(broken[generation].running, "docker-icc")
    assert found.outcome is Outcome.UNKNOWN
    assert found.reason.startswith(f"{CONFIG}: not valid JSON: ")
    assert found.reason.endswith("at line 2 column 1")
    assert planned(host_plan(broken[generation].running)) == []


def test_a_daemon_that_is_down_makes_no_patch(broken: dict[str, Broken], generation: str) -> None:
    """Without an answer nothing of the daemon or of containers is known, or planned."""
    state = broken[generation].down
    for control in ("docker-icc", "docker-live-restore", "container-memory", "swarm-mode-off"):
        found = outcome(state, control)
        assert (found.outcome, found.reason.split(": ")[-1]) == (Outcome.UNKNOWN, "no engine answers at its socket")
    plan = host_plan(state)
    assert planned(plan) == planned(plan, "container") == []
    assert plan.steps.activation.action == "none"


# --- what one plan must not put together ------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A host without firewall rules, and the same engine asked by way of the SDK."""

    state: HostState
    engine: dict[str, Any]


@pytest.fixture(scope="module")
def asked(fleet: Fleet) -> dict[str, Asked]:
    """iptables=false, a key of nobody's business, and the engine asked at its socket and by SDK."""
    fleet.reset({"iptables": False, "max-concurrent-downloads": 7})
    fleet.each(lambda host: host.run_container("one"))
    states, found = fleet.look(), {}
    with pytest.MonkeyPatch.context() as patch:
        for one, host in fleet.hosts.items():
            patch.setenv("DOCKER_HOST", f"unix://{host.root}/run/docker.sock")
            found[one] = local.SdkEngine().collect(probe.SOCKET)
    return {one: Asked(states[one], found[one]) for one in fleet.hosts}


def test_icc_is_held_without_iptables(asked: dict[str, Asked], generation: str) -> None:
    """The plan does not wait for the daemon's refusal, unless it turns iptables on as well."""
    state = asked[generation].state
    told = "icc, iptables: both are false, and icc=false is made of iptables: the daemon does not start with it"
    waived = host_plan(state)
    assert sorted(planned(waived))[:3] == ["/default-ulimits", "/icc", "/iptables"]
    assert told in reason(_without_iptables(state), "docker-icc")


def _without_iptables(state: HostState) -> HostPlan:
    from remediator.baseline import BaselineFile, build, load_controls
    from remediator.model import Safety
    from remediator.plan.model import Policy
    from remediator.plan.plan import plan_host

    baseline = build(BaselineFile("test", exclude=["docker-iptables"]), load_controls())
    return plan_host(state, baseline, Policy(Safety.UNSAFE, Disruption.RECREATE))


def test_what_moves_data_or_needs_a_choice_is_never_planned(asked: dict[str, Asked], generation: str) -> None:
    """userns-remap and the like are a person's, under every policy."""
    plan = host_plan(asked[generation].state)
    assert reason(plan, "docker-userns-remap").startswith("manual: ")
    assert reason(plan, "docker-log-driver").startswith("manual: ")
    assert "/userns-remap" not in planned(plan)


def test_storage_drivers_that_an_engine_no_longer_has(asked: dict[str, Asked], generation: str) -> None:
    """aufs left in 24 and devicemapper in 25: there is nothing to find there."""
    wanted = Outcome.PASS if generation == "20.10" else Outcome.NOT_APPLICABLE
    for control in ("docker-no-aufs", "docker-no-devicemapper"):
        assert outcome(asked[generation].state, control).outcome is wanted


def test_the_engine_says_the_same_over_sdk_and_command_line(asked: dict[str, Asked], generation: str) -> None:
    """Both negotiate the API's version, and what they bring is judged alike."""
    engine, facts = asked[generation].engine, asked[generation].state.facts
    assert engine["info"] == facts["engine"]["engine"].document
    assert engine["containers"]["one"]["document"] == facts["container"]["one"].document
    assert str(engine["info"]["ServerVersion"]).startswith(f"{generation}.")
