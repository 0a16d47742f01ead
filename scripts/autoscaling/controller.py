"""A small controller in the place of Kubernetes: the HPA's algorithm on the manifests' queries, and a Deployment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from autoscaling.front import Nginx, Prometheus
from autoscaling.pods import Pod, Template
from tritonfleet.scaling import History, Rule, decide


@dataclass(frozen=True)
class Look:
    """One look of the autoscaler."""

    at: float
    """Seconds since the start of the proof."""
    values: dict[str, float | None]
    asked: int | None
    """What the load asked for."""
    replicas: int
    """What was decided."""
    serving: int


@dataclass
class Deployment:
    """Starts and ends pods so that there are as many as asked for."""

    name: str
    namespace: str
    template: Template
    nginx: Nginx
    prometheus: Prometheus
    session: aiohttp.ClientSession
    before_end: Callable[[Pod], Awaitable[None]] | None = None
    """Called with a serving pod that is about to go."""
    replicas: int = 0
    pods: list[Pod] = field(default_factory=list)
    gone: list[Pod] = field(default_factory=list)
    exits: list[tuple[str, int]] = field(default_factory=list)
    """Pods that ended, with their exit status."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _routing: asyncio.Lock = field(default_factory=asyncio.Lock)
    started: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        """Return seconds since the start."""
        return time.monotonic() - self.started

    async def scale(self, replicas: int) -> None:
        """Ask for *replicas* pods; those that came last go first."""
        self.replicas = replicas
        while len(self.pods) < replicas:
            pod = await self.template.start(self.now())
            self.pods.append(pod)
            self._run(self._bring(pod))
        while len(self.pods) > replicas:
            pod = self.pods.pop()
            pod.terminating = True
            self.gone.append(pod)
            self._run(self._end(pod))

    async def wait_ready(self) -> None:
        """Return once everything that was asked for serves."""
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """End every pod."""
        await self.scale(0)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def state_metrics(self) -> str:
        """Return the two series of kube-state-metrics that the queries use."""
        labels = f'{{namespace="{self.namespace}",deployment="{self.name}"}}'
        serving = sum(pod.serving for pod in self.pods)
        return (
            f"kube_deployment_spec_replicas{labels} {self.replicas}\n"
            f"kube_deployment_status_replicas_available{labels} {serving}\n"
        )

    def check(self) -> None:
        """Raise what went wrong while a pod came or went."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()

    async def _bring(self, pod: Pod) -> None:
        await pod.wait_ready(self.session, self.now)
        if not pod.terminating:
            await self._show()

    async def _end(self, pod: Pod) -> None:
        """Take the pod out of the load balancer first, as the endpoints controller and a preStop hook do."""
        if self.before_end is not None and pod.ready_at is not None:
            await self.before_end(pod)
        await self._show()
        status = await pod.terminate()
        self.exits.append((pod.name, status))
        self.gone.remove(pod)
        self.template.give_back(pod)
        await self._show()

    async def _show(self) -> None:
        async with self._routing:
            serving = [pod for pod in self.pods if pod.serving]
            self.prometheus.show([pod for pod in (*self.pods, *self.gone) if pod.ready_at is not None])
            if serving:
                await self.nginx.show(serving)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(work))


async def serve_state_metrics(deployment: Deployment, port: int) -> web.AppRunner:
    """Serve what kube-state-metrics serves in a cluster."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=deployment.state_metrics())

    app = web.Application()
    app.router.add_get("/metrics", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def autoscale(
    deployment: Deployment, rule: Rule, *, every: float, until: Callable[[], bool], saw: Callable[[Look], None]
) -> None:
    """Look every so many seconds, and do what the algorithm says, until told to stop."""
    history = History()
    while not until():
        began = deployment.now()
        values = {trigger.name: await ask(deployment, trigger.query) for trigger in rule.triggers}
        decision = decide(rule, history, began, deployment.replicas, values)
        history = decision.history
        if decision.replicas != deployment.replicas:
            await deployment.scale(decision.replicas)
        deployment.check()
        serving = sum(pod.serving for pod in deployment.pods)
        saw(Look(began, values, decision.asked, decision.replicas, serving))
        await asyncio.sleep(max(0.0, every - (deployment.now() - began)))


async def ask(deployment: Deployment, query: str) -> float | None:
    """Return the query's one value; None where it has none, which is not zero."""
    url = f"http://127.0.0.1:{deployment.prometheus.port}/api/v1/query"
    async with deployment.session.get(url, params={"query": query}) as response:
        answer = await response.json()
    if answer["status"] != "success":
        raise RuntimeError(f"Prometheus refuses a query of the manifests: {answer['error']}")
    result = answer["data"]["result"]
    return float(result[0]["value"][1]) if result else None
