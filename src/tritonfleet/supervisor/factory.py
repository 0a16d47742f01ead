"""Make the units of a fleet: place every model, give each engine its endpoint and its command."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from tritonfleet.engines.base import Command, Launch
from tritonfleet.supervisor.adopt import adopt
from tritonfleet.supervisor.device_memory import DeviceMemory, NoDeviceMemory, NvmlMemory
from tritonfleet.supervisor.engine import Engine, Turnstile
from tritonfleet.supervisor.placement import Place, place_beside
from tritonfleet.supervisor.prepared import Prepared, PreparedModel
from tritonfleet.supervisor.process import Spawner
from tritonfleet.supervisor.share import ShareGroup
from tritonfleet.supervisor.sleeper import Sleeper, sleeping_of
from tritonfleet.supervisor.turns import StartTurns
from tritonfleet.supervisor.unit import ModelUnit
from tritonfleet.wire import Endpoint


class UnitFactory:
    """Makes units of prepared models."""

    def __init__(
        self,
        prepared: Prepared,
        spawner: Spawner,
        changed: Callable[[], None],
        memory: DeviceMemory | None = None,
    ) -> None:
        self._prepared = prepared
        self._memory = memory or (NvmlMemory() if prepared.machine.gpus else NoDeviceMemory())
        self.groups: dict[str, ShareGroup] = {}
        """Share groups by name."""
        self._layout = prepared.layout
        self._spawner = spawner
        self._changed = changed
        self._places: list[Place] = []
        self._turns = StartTurns()

    def all(self) -> dict[str, ModelUnit]:
        """Return the units of the spec's models by name."""
        placement = self._prepared.placement
        self._places = list(placement.places)
        specs = {model.spec.name: model.spec for model in self._prepared.models}
        for group in placement.groups:
            sharing = self._prepared.spec.sharing(group.name)
            self.groups[group.name] = ShareGroup(group, sharing, specs, self._changed)
        return {model.spec.name: self._unit(model, placement.of(model.spec.name)) for model in self._prepared.models}

    async def adopt(self, name: str, version: str, model_dir: Path) -> ModelUnit:
        """Make a unit for a model of somebody's own repository, beside those that are there; it may download."""
        spec = adopt(name, model_dir, version)
        prepared = await asyncio.to_thread(self._prepared.prepare_model, spec)
        places = place_beside(self._places, spec, self._prepared.machine, self._prepared.cores)
        self._places += places
        return self._unit(prepared, places)

    def _unit(self, model: PreparedModel, places: Sequence[Place]) -> ModelUnit:
        names = [model.spec.name if len(places) == 1 else f"{model.spec.name}/{entry.replica}" for entry in places]
        share = self.groups.get(model.spec.share or "")
        turnstile = share.turnstile(model.spec.name) if share else None
        engines = [self._engine(name, model, entry, turnstile) for name, entry in zip(names, places, strict=True)]
        if share:
            share.join(model.spec.name, engines[0], self._sleeper(model, engines[0], places[0], share))
        return ModelUnit(
            model.spec,
            model.adapter,
            engines,
            [str(entry) for entry in places],
            share=share,
            engine_version=model.runtime.version,
            pool=self._prepared.spec.pool_of(model.spec),
        )

    def _sleeper(self, model: PreparedModel, engine: Engine, place: Place, share: ShareGroup) -> Sleeper | None:
        if place.sleep is None:
            return None
        groups = self._prepared.placement.groups
        member = next(entry for group in groups for entry in group.members if entry.model == model.spec.name)
        sleeping = sleeping_of(place.sleep, place.gpus, member, share.sharing.switch_seconds)
        return Sleeper(engine, model.adapter, sleeping, self._memory)

    def _engine(self, name: str, model: PreparedModel, entry: Place, turnstile: Turnstile | None) -> Engine:
        endpoint = self._endpoint(model, entry.replica)

        async def command() -> Command:
            await self._turns.take(name, entry.gpus)
            return model.adapter.command(_launch(model, entry, endpoint))

        def changed() -> None:
            if engine.state != "starting":
                self._turns.give_back(name)
            self._changed()

        engine = Engine(
            name,
            health=model.adapter.health,
            endpoint=endpoint,
            command=command,
            log_path=self._layout.engine_log(model.spec.name, entry.replica),
            lifecycle=self._prepared.spec.lifecycle,
            spawner=self._spawner,
            changed=changed,
            turnstile=turnstile,
        )
        return engine

    def _endpoint(self, model: PreparedModel, replica: int) -> Endpoint:
        if model.adapter.unix_socket:
            return Endpoint(uds=str(self._layout.engine_socket(model.spec.name, replica)))
        return Endpoint(port=free_port())


def _launch(model: PreparedModel, entry: Place, endpoint: Endpoint) -> Launch:
    return Launch(
        model=model.spec,
        model_path=model.path,
        lora_paths=model.lora_paths,
        endpoint=endpoint,
        runtime=model.runtime,
        gpus=entry.gpus,
        cpu_cores=entry.cores,
        memory_share=entry.memory_share,
        sleeps=entry.sleep in (1, 2),
    )


def free_port() -> int:
    """Return a loopback TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
