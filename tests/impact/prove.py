"""Predict with the program, make the change for real, and look: on one host of each engine generation."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from remediator import kinds
from remediator.baseline import BaselineFile, build, load_controls
from remediator.collect import fleet
from remediator.impact.verdict import BREAKS, RULED_OUT, UNKNOWN
from remediator.model import Change, Disruption, HostState, LiveUpdate, Safety
from remediator.plan.model import Plan, Policy
from remediator.plan.plan import make
from remediator.plan.playbook import options
from tests.impact.scenario import Scenario
from tests.impact.stage import Stage
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.program import remediator
from tests.lab.test_generations_fleet import CLEAN

OBSERVED = 4  # seconds: the containers of scenarios do all that they ever do within one
_POLICY = Policy(Safety.UNSAFE, Disruption.RECREATE)
_PARALLEL = 4
_SAID = {BREAKS: "breaks", UNKNOWN: "unknown", RULED_OUT: "safe"}


@dataclass(frozen=True)
class Proof:
    """What was said of a scenario (breaks, unknown or safe), and what came of it."""

    scenario: str
    control: str
    generation: str
    said: str
    works: bool
    why: str
    error: str = ""


def said(change: Change) -> tuple[str, str]:
    """What a change's evidence and safety say of it, and the sentences."""
    lines = [one for one in change.evidence if one.startswith(tuple(_SAID))]
    if lines:
        return next(_SAID[word] for word in _SAID if lines[0].startswith(word)), "; ".join(lines)
    return ("safe" if change.safety is Safety.SAFE else "unknown"), "its static class"


def baseline(scenario: Scenario) -> BaselineFile:
    """A baseline of the scenario's one control."""
    parameters = {"impact": {"observed": OBSERVED}, **scenario.parameters}
    tailoring = {scenario.control: scenario.tailoring} if scenario.tailoring else {}
    fields = {"name": "impact", "include": [scenario.control], "parameters": parameters, "tailoring": tailoring}
    return msgspec.convert(fields, BaselineFile)


def predicted(plan: Plan, scenario: Scenario, resource: str) -> Change:
    """The change of a plan, made or held, that a scenario is about."""
    (host,) = plan.hosts
    every = [*host.changes, *(change for held in host.held for change in held.finding.changes)]
    found = [one for one in every if one.control == scenario.control and resource in ("", one.resource)]
    if not found:
        raise AssertionError(f"{scenario.id}: the plan has no change of {scenario.control} {resource}")
    return found[0]


def _which(stage: Stage) -> tuple[str, str, str]:
    return stage.scenario.id, stage.scenario.control, stage.host.generation


def _told(proof: Proof) -> Proof:
    """The proof, of which a line goes to standard error: all of them take minutes."""
    outcome = proof.error or ("works" if proof.works else "broke")
    print(
        f"{proof.generation} {proof.scenario}: said {proof.said or 'nothing'}, {outcome}", file=sys.stderr, flush=True
    )
    return proof


class Prover:
    """Proves scenarios on the hosts of a lab."""

    def __init__(self, lab: Lab, work: Path) -> None:
        self._lab, self._work = lab, work

    def state(self, host: Host) -> HostState:
        """The host as the program collects it over ssh."""
        found, failed = fleet.collect(kinds.request(), str(self._lab.inventory()), host.name)
        assert not failed, failed
        return kinds.state(found[host.name], host.name)

    def shared(self, host: Host, scenarios: list[Scenario]) -> list[Proof]:
        """Scenarios that do not touch one another, all on one host at the same time, after one look at it."""
        host.run(["sh", "-c", CLEAN])
        host.restart_docker()
        stages = [Stage(host, one) for one in scenarios]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            list(pool.map(Stage.begin, stages))
            began = list(pool.map(lambda one: one.works(0), stages))
            time.sleep(OBSERVED)
            state = self.state(host)
            jobs = zip(stages, began, strict=True)
            return list(pool.map(lambda job: self._in_place(job[0], job[1], state), jobs))

    def _in_place(self, stage: Stage, began: bool, state: HostState) -> Proof:
        if not began:
            return self._failed(stage, f"does not work to begin with: {stage.trouble()}")
        one = stage.scenario
        try:
            plan = make([state], build(baseline(one), load_controls()), _POLICY, datetime.now(UTC))
            change = predicted(plan, one, stage.name(one.of))
            if one.recreate:
                stage.recreate()
            else:
                steps = [step for step in plan.hosts[0].steps.updates if change.resource in step.names]
                self._update(stage, steps, change.resource)
            return self._proof(stage, change)
        except Exception as error:
            return self._failed(stage, repr(error))

    def _update(self, stage: Stage, steps: list[LiveUpdate], name: str) -> None:
        assert steps, "the plan updates nothing"
        for step in steps:
            for _ in range(20):  # the kernel refuses a limit below what is in use just now
                if not stage.host.docker("update", *options(step), name, check=False).returncode:
                    break
                time.sleep(0.2)
            else:
                raise AssertionError("docker update goes on to fail")
        if stage.scenario.then:
            stage.shell(stage.scenario.then)

    def alone(self, host: Host, scenario: Scenario) -> Proof:
        """A scenario that has the host for itself, since the change is one of the whole host."""
        stage = Stage(host, scenario)
        try:
            host.run(["sh", "-c", CLEAN])
            if scenario.config:
                host.write("/etc/docker/daemon.json", json.dumps(scenario.config) + "\n")
            host.restart_docker()
            stage.begin()
            if not stage.works(0):
                return self._failed(stage, f"does not work to begin with: {stage.trouble()}")
            time.sleep(OBSERVED)
            path, plan = self._plan(host, scenario)
            resource = stage.name(scenario.of) if scenario.of and not scenario.of.startswith("/") else scenario.of
            change = predicted(plan, scenario, resource)
            self._program(host, "apply", path, "--yes", "--max-failures", "9")
            stage.recreate()
            return self._proof(stage, change)
        except Exception as error:
            return self._failed(stage, repr(error))
        finally:
            stage.end()

    def _program(self, host: Host, *words: str | Path) -> None:
        done = remediator(self._work / host.name, *words)
        assert done.returncode in (0, 2), done.stdout[-1000:] + done.stderr[-1000:]

    def _plan(self, host: Host, scenario: Scenario) -> tuple[Path, Plan]:
        folder = self._work / f"{host.name}-{scenario.id}"
        folder.mkdir(parents=True)
        source, path = folder / "baseline.yaml", folder / "plan.json"
        source.write_bytes(msgspec.json.encode(baseline(scenario)))
        policy = ("--fix", "unsafe", "--max-disruption", "recreate")
        selection = ("-i", self._lab.inventory(), "--limit", host.name, "--baseline", source)
        self._program(host, "plan", *selection, *policy, "-o", path)
        return path, msgspec.json.decode(path.read_bytes(), type=Plan)

    def _proof(self, stage: Stage, change: Change) -> Proof:
        verdict, why = said(change)
        return _told(Proof(*_which(stage), verdict, stage.works(), why))

    def _failed(self, stage: Stage, error: str) -> Proof:
        return _told(Proof(*_which(stage), "", False, "", error))

    def host(self, host: Host, scenarios: list[Scenario]) -> list[Proof]:
        """All scenarios of one host: those that share it, then the others in turn."""
        together = [one for one in scenarios if not one.alone]
        found = self.shared(host, together) if together else []
        return found + [self.alone(host, one) for one in scenarios if one.alone]


def prove(spread: dict[str, list[Scenario]], work: Path) -> list[Proof]:
    """Prove scenarios on a lab of one host for each generation that has some."""
    wanted = {generation: some for generation, some in spread.items() if some}
    with Lab.create() as lab:
        hosts = lab.host_group([("", generation) for generation in wanted])
        lab.inventory()
        prover = Prover(lab, work)
        with ThreadPoolExecutor(len(hosts)) as pool:
            done = pool.map(lambda host: prover.host(host, wanted[host.generation]), hosts)
            return [one for some in done for one in some]
