"""Prove that the scaling rule works on real parts, without a cloud.

    python scripts/prove_autoscaling.py [--engine vllm|fake] [--quick] [--json FILE] [--png FILE]

Replicas are real `tritonfleet up` fleets on this machine, behind Debian's nginx (gRPC and server-sent events). Debian's
Prometheus scrapes them. A small controller runs the algorithm of Kubernetes' HPA on the very queries and numbers of the
cluster's manifests, which come from the same fleet.yaml. The load is a quiet time, a step, and a quiet time again, with
requests at random times (open loop) whose rate follows the measured capacity of one replica, so that one is too few and
the most are enough. Needs the packages prometheus and nginx, and for `--engine vllm` about 12 minutes.
Ends with status 1 if something is not as promised.

vLLM's steps are paced (`autoscaling/device/paced_device.py`): its slots are the limit and not the cores that all
replicas share here, as with a GPU for each replica.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from autoscaling.controller import Deployment, Look, ask, autoscale, serve_state_metrics
from autoscaling.front import Nginx, Prometheus
from autoscaling.load import Load, Phase, Sample, Witnesses
from autoscaling.pods import Template
from autoscaling.verdict import Verdict, judge

from tritonfleet.client import FleetClient
from tritonfleet.scaling import Rule, pool_rule
from tritonfleet.spec import FleetSpec, parse_spec

MODEL, NAMESPACE, DEPLOYMENT = "llama2", "proof", "proof-llama2"
SEED = 7
#: A request that runs while its replica is told to go is so many times as long as the others.
WITNESS_FACTOR = 3
#: What vLLM is told of its device.
DEVICE = Path(__file__).parent / "autoscaling" / "device"
PACED = "paced_device:PacedDevice"
#: Time of a step, several times what a step of the demo model computes.
STEP_MS = 60.0
#: Requests in each slot from which the capacity is taken, and as many before them to warm up.
CAPACITY_ROUNDS = 3
#: The step ends then, even if the replicas have not come.
STEP_LIMIT_SECONDS = 600.0


@dataclass(frozen=True)
class Plan:
    """How the proof is run."""

    model: dict[str, Any]
    """The model's entry in fleet.yaml."""
    slots: int
    """Requests that one replica runs at once."""
    step: float
    """Load of the step, in what one replica can carry."""
    quiet: float
    before_seconds: float
    """Of quiet."""
    settle_seconds: float
    """The step lasts until all replicas have served for so long."""
    recovered_seconds: float
    """End of the step, in which TTFT must keep its goal."""
    after_seconds: float
    """Of quiet."""
    max_tokens: int
    scrape_seconds: float
    sync_seconds: float


def make_plan(engine: str, *, quick: bool) -> Plan:
    """Return the plan of a run."""
    scaling: dict[str, Any] = {"ttft_goal_seconds": 1.0, "start_seconds": 60}
    if quick:
        scaling |= {"down_window_seconds": 15, "down_period_seconds": 5}
        times, scrape, sync = (6.0, 38.0, 14.0, 32.0), 1.0, 3.0
    else:
        scaling |= {"down_window_seconds": 180, "down_period_seconds": 60}
        times, scrape, sync = (60.0, 270.0, 100.0, 270.0), 5.0, 15.0
    model: dict[str, Any] = {"name": MODEL, "source": "demo://llama2", "devices": "cpu", "max_model_len": 512}
    if engine == "fake":
        model |= {"engine": "fake", "engine_args": {"max_running": 4, "ttft_ms": 20, "tpot_ms": 20}}
        model["scaling"] = scaling | {"concurrency": 4, "max_replicas": 3}
        return Plan(model, 4, 1.8, 0.1, *times, 24, scrape, sync)
    env = {"PYTHONPATH": str(DEVICE), "PACED_STEP_MS": f"{STEP_MS:g}"}
    # One thread a replica, wherever there is room: vLLM would bind that of every fleet to the same core.
    env |= {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    model |= {"engine_args": {"max_num_seqs": 8, "logits_processors": PACED}, "env": env}
    model["scaling"] = scaling | {"concurrency": 8, "max_replicas": 2}
    return Plan(model, 8, 1.4, 0.1, *times, 32, scrape, sync)


@dataclass
class Proof:
    """A run and what it showed."""

    plan: Plan
    deployment: Deployment
    rule: Rule
    load: Load
    looks: list[Look] = field(default_factory=list)
    witnesses: list[Sample] = field(default_factory=list)
    step: tuple[float, ...] = ()
    """When the load was high."""
    seconds: float = 0.0
    """Length of the run."""

    async def run(self) -> tuple[list[Sample], float]:
        """Run the load with the autoscaler beside it; return samples and one replica's requests a second."""
        witnesses = Witnesses(self.load, WITNESS_FACTOR * self.plan.max_tokens)
        self.deployment.before_end = witnesses.join
        await self.deployment.scale(1)
        await self.deployment.wait_ready()
        capacity = await self._capacity()
        _tell(f"one replica answers {capacity:.2f} requests/s; the step is {self.plan.step * capacity:.2f}")
        await self._calm()
        begun = self.deployment.now()
        phases = (
            Phase(self.plan.quiet * capacity, lambda: self.deployment.now() - begun >= self.plan.before_seconds),
            Phase(self.plan.step * capacity, self._step_over),
            Phase(self.plan.quiet * capacity, lambda: self.deployment.now() - self.step[1] >= self.plan.after_seconds),
        )
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self.load.run(phases, SEED))
            group.create_task(self._autoscale(sending))
        self.deployment.before_end = None
        self.witnesses = await witnesses.finish()
        self.seconds = self.deployment.now() - begun
        return sending.result(), capacity

    def _step_over(self) -> bool:
        """End the step once all replicas have served for long enough, or they do not come."""
        now = self.deployment.now()
        if not self.step:
            self.step = (now, now)
        start, full = self.step[0], self._full_since()
        self.step = (start, now)
        return (full is not None and now - full >= self.plan.settle_seconds) or now - start >= STEP_LIMIT_SECONDS

    def _full_since(self) -> float | None:
        return next((look.at for look in self.looks if look.serving >= self.rule.max_replicas), None)

    async def _autoscale(self, sending: asyncio.Task[list[Sample]]) -> None:
        def saw(look: Look) -> None:
            self.looks.append(look)
            values = ", ".join(f"{name} {value}" for name, value in look.values.items())
            _tell(f"{look.at:6.1f} s  {values}: asked {look.asked}, {look.replicas} wanted, {look.serving} serving")

        every = self.plan.sync_seconds
        await autoscale(self.deployment, self.rule, every=every, until=sending.done, saw=saw)

    async def _capacity(self) -> float:
        """Return how many requests a second one replica answers while all of its slots are busy."""
        await self._keep_busy()
        began = self.deployment.now()
        samples = await self._keep_busy()
        return len(samples) / (self.deployment.now() - began)

    async def _calm(self) -> None:
        """Return once Prometheus has seen that nothing is in flight, or the rule would answer the measurement."""
        async with asyncio.timeout(60):
            while any([await ask(self.deployment, trigger.query) != 0 for trigger in self.rule.triggers]):  # noqa: ASYNC110
                await asyncio.sleep(self.plan.scrape_seconds)  # Prometheus tells nobody of a new scrape

    async def _keep_busy(self) -> list[Sample]:
        async def one_after_the_other(slot: int) -> list[Sample]:
            return [await self.load.send(slot) for _ in range(CAPACITY_ROUNDS)]

        found = await asyncio.gather(*map(one_after_the_other, range(self.plan.slots)))
        samples = [sample for slot in found for sample in slot]
        if errors := [sample.error for sample in samples if sample.error]:
            raise RuntimeError(f"a request through nginx failed before there was any load: {errors[0]}")
        return samples


@asynccontextmanager
async def cluster(plan: Plan, spec: FleetSpec, folder: Path, port: int) -> AsyncIterator[Proof]:
    """Start everything around the pods; end all of it afterwards."""
    rule = pool_rule(spec, MODEL, namespace=NAMESPACE, deployment=DEPLOYMENT)
    assert rule is not None
    nginx = Nginx(folder, http_port=port, grpc_port=port + 1)
    prometheus = Prometheus(folder, port + 2, port + 3, NAMESPACE, plan.scrape_seconds)
    template = Template({"name": "proof", "models": [plan.model]}, folder, port + 4, places=6)
    timeout = aiohttp.ClientTimeout(total=300)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session,
        FleetClient(f"127.0.0.1:{port + 1}", timeout_seconds=300) as client,
    ):
        deployment = Deployment(DEPLOYMENT, NAMESPACE, template, nginx, prometheus, session)
        state = await serve_state_metrics(deployment, port + 3)
        try:
            await prometheus.start()
            load = Load(MODEL, port, plan.max_tokens, session, client, deployment.now)
            yield Proof(plan, deployment, rule, load)
        finally:
            await deployment.stop()
            await nginx.stop()
            await prometheus.stop()
            await state.cleanup()


async def prove(options: argparse.Namespace, folder: Path) -> Verdict:
    """Run the proof, write what was asked for, and return the verdict."""
    plan = make_plan(options.engine, quick=options.quick)
    spec = parse_spec(yaml.safe_dump({"name": "proof", "models": [plan.model]}))
    scaling = spec.models[0].scaling
    assert scaling is not None
    async with cluster(plan, spec, folder, options.port) as proof:
        samples, capacity = await proof.run()
    start, stop = proof.step
    looks, deployment, goal = proof.looks, proof.deployment, scaling.ttft_goal_seconds
    verdict = judge(
        *(looks, samples, proof.witnesses, deployment.exits),
        reconnects=proof.load.reconnects,
        step=(start, stop),
        recovered_at=stop - plan.recovered_seconds,
        ttft_goal=goal,
        end=proof.seconds,
    )
    if options.json:
        found = {
            "engine": options.engine,
            "verdict": asdict(verdict),
            "failures": verdict.failures,
            "capacity": capacity,
            "step": (start, stop),
            "plan": asdict(plan),
            "rule": asdict(proof.rule),
            "looks": [asdict(look) for look in looks],
            "witnesses": [asdict(sample) for sample in proof.witnesses],
            "samples": [asdict(sample) for sample in samples],
        }
        options.json.write_text(json.dumps(found, indent=1))
    if options.png:
        from autoscaling.picture import draw

        engine = f"vLLM, steps of {STEP_MS:g} ms" if options.engine == "vllm" else "fake engine"
        title = f"One to {scaling.max_replicas} replicas and back ({engine})"
        draw(looks, samples, step=(start, stop), ttft_goal=goal, title=title, path=options.png)
    return verdict


def main() -> int:
    """Run the proof and print the verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--engine", choices=("vllm", "fake"), default="vllm")
    parser.add_argument("--quick", action="store_true", help="short times, for the test suite")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was seen")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw it; needs matplotlib")
    parser.add_argument("--port", type=int, default=21500, help="first of 28 ports")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave logs here")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        verdict = asyncio.run(prove(options, options.keep.absolute()))
    else:
        with tempfile.TemporaryDirectory(prefix="autoscaling-") as folder:
            verdict = asyncio.run(prove(options, Path(folder)))
    for name, value in asdict(verdict).items():
        _tell(f"{name}: {value}")
    for failure in verdict.failures:
        _tell(f"FAILED: {failure}")
    return 1 if verdict.failures else 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
