"""What a person may write in fleet.yaml, as frozen pydantic models.

The field docstrings become the text of the JSON schema, so an editor shows them. Nothing here touches a file,
a socket or a process.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tritonfleet.spec.scaling import ScalingSpec
from tritonfleet.spec.section import Seconds, Section
from tritonfleet.spec.sharing import ShareSpec

EngineName = Literal["vllm", "tensorrt-llm", "sglang", "llamacpp", "fake"]
Dtype = Literal["auto", "bfloat16", "float16", "float32"]

SOURCE_SCHEMES = ("hf", "s3", "gs", "az", "demo")
#: Triton uses the name as a folder and in URLs; `:` separates a model from its LoRA adapter at the OpenAI door.
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
#: Also a folder, and part of Kubernetes names.
FLEET_NAME = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"


def _allow_one_number(schema: dict[str, Any]) -> None:
    """Let an editor accept ``devices: 0``, which is read as ``[0]``."""
    schema["anyOf"].append({"type": "integer", "minimum": 0})


Tokens = Annotated[int, Field(ge=1, json_schema_extra={"unit": "tokens"})]
#: YAML has lists only, so lists are taken where the model holds a tuple.
GpuNumbers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)]
Names = Annotated[tuple[str, ...], Field(strict=False)]


class ModelSpec(Section):
    """One model of the fleet: where its weights are, which engine runs it, on which devices."""

    name: Annotated[str, Field(pattern=MODEL_NAME)]
    """Name under which every door serves the model."""
    source: str
    """Folder, hf://org/name[@revision], s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or demo://llama2."""
    engine: EngineName = "vllm"
    """Program that runs the model."""
    devices: Annotated[Literal["auto", "cpu"] | GpuNumbers, Field(json_schema_extra=_allow_one_number)] = "auto"
    """GPU numbers such as [0] or [0, 1], cpu, or auto: the next free GPUs, the CPU where there is none."""
    tensor_parallel: Annotated[int, Field(ge=1)] = 1
    """GPUs that each replica's weights are split over."""
    pipeline_parallel: Annotated[int, Field(ge=1)] = 1
    """GPUs that each replica's layers are split over."""
    dtype: Dtype = "auto"
    """Number format of weights and activations; auto takes the model's own."""
    max_model_len: Tokens | None = None
    """Longest prompt plus answer, in tokens; the model's own limit when absent."""
    engine_args: dict[str, Any] = Field(default_factory=dict)
    """Further options of the engine by its own names, for example gpu_memory_utilization: 0.8."""
    env: dict[str, str] = Field(default_factory=dict)
    """Further environment variables of the engine."""
    lora: dict[str, str] = Field(default_factory=dict)
    """LoRA adapters: name to source (the same forms as the model's source)."""
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """Engines that serve the model side by side."""
    bridge_instances: Annotated[int, Field(ge=1, le=16)] = 1
    """Triton processes that pass the model's tokens on; more where one core is too slow (docs/performance.md)."""
    load: bool = True
    """Load the model when the fleet comes up; false waits for a repository load."""
    share: Annotated[str, Field(pattern=MODEL_NAME)] | None = None
    """Models that name the same group take turns on the same GPUs; each keeps its own when absent."""
    pool: Annotated[str, Field(pattern=FLEET_NAME)] | None = None
    """In a cluster, models of the same pool share a pod and scale together; each has a pool of its own when absent."""
    keep_warm: bool = False
    """Within its share group: never put to sleep for another model."""
    priority: int = 0
    """Within its share group: a higher number goes first, and keeps the device from lower ones while it has work."""
    scaling: ScalingSpec | None = None
    """How its replicas follow the load in a cluster; one replica for ever when absent."""

    @field_validator("source")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        return check_source(value)

    @field_validator("lora")
    @classmethod
    def _known_adapters(cls, value: dict[str, str]) -> dict[str, str]:
        for name, source in value.items():
            if not re.fullmatch(MODEL_NAME, name):
                raise ValueError(f"adapter name {name!r} may hold letters, digits, '.', '_' and '-' only")
            try:
                check_source(source)
            except ValueError as err:
                raise ValueError(f"adapter {name!r}: {err}") from err
        return value

    @field_validator("devices", mode="before")
    @classmethod
    def _one_device(cls, value: object) -> object:
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _devices_match_parallelism(self) -> ModelSpec:
        if isinstance(self.devices, tuple):
            if len(set(self.devices)) != len(self.devices):
                raise ValueError(f"devices {list(self.devices)} names a GPU twice; name each GPU once")
            if len(self.devices) % self.gpus_per_replica:
                raise ValueError(
                    f"devices names {len(self.devices)} GPUs, but tensor_parallel x pipeline_parallel needs "
                    f"{self.gpus_per_replica} for each replica; name that many, or a multiple of it"
                )
        elif self.devices == "cpu" and self.gpus_per_replica > 1:
            raise ValueError("tensor_parallel and pipeline_parallel need GPUs; remove them or name devices")
        return self

    @model_validator(mode="after")
    def _sharing_makes_sense(self) -> ModelSpec:
        if self.keep_warm and self.share is None:
            raise ValueError("keep_warm says how a model behaves in its share group; name one with share, or remove it")
        if self.priority and self.share is None:
            raise ValueError("priority says how a model behaves in its share group; name one with share, or remove it")
        if self.share is not None and self.replicas > 1:
            raise ValueError(f"a model of the share group {self.share!r} has one replica; remove replicas or share")
        return self

    @model_validator(mode="after")
    def _scaling_makes_sense(self) -> ModelSpec:
        if self.scaling is None:
            return self
        if not self.load:
            raise ValueError("a model that is not loaded has no load to scale on; remove load: false or scaling")
        # Requests beyond the batch wait, and more replicas would look idle as soon as the queue is gone.
        batch = self.engine_args.get("max_num_seqs", self.engine_args.get("max-num-seqs"))
        if isinstance(batch, int) and self.scaling.concurrency > batch:
            raise ValueError(
                f"scaling.concurrency is {self.scaling.concurrency}, but engine_args.max_num_seqs lets only {batch} "
                "requests of a replica run at once; lower the one or raise the other"
            )
        return self

    @property
    def gpus_per_replica(self) -> int:
        """Number of GPUs under one replica."""
        return self.tensor_parallel * self.pipeline_parallel


class Door(Section):
    """An address that the fleet listens on."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 opens the door to other machines."""
    port: Annotated[int, Field(ge=1, le=65535)]
    """TCP port."""


class Doors(Section):
    """Addresses of the fleet's doors."""

    http: Door = Door(port=8000)
    """KServe v2 over HTTP (Triton)."""
    grpc: Door = Door(port=8001)
    """KServe v2 over gRPC (Triton)."""
    metrics: Door = Door(port=8002)
    """Triton's own Prometheus metrics."""
    openai: Door = Door(port=9000)
    """OpenAI API, console and the fleet's metrics."""

    @model_validator(mode="after")
    def _ports_differ(self) -> Doors:
        seen: dict[int, str] = {}
        for name in type(self).model_fields:
            port = getattr(self, name).port
            if port in seen:
                raise ValueError(
                    f"doors.{name} and doors.{seen[port]} both ask for port {port}; give one of them another port"
                )
            seen[port] = name
        return self


class RuntimeChoice(Section):
    """Which Triton and which engine environments to use; auto finds one on the machine or installs it."""

    triton: str = "auto"
    """auto, or the path of a tritonserver program."""
    vllm: str = "auto"
    """auto, or the path of a Python that can import vllm."""
    tensorrt_llm: str = "auto"
    """auto (trtllm-serve on the PATH), or its path."""
    sglang: str = "auto"
    """auto, or the path of a Python that can import sglang."""
    llamacpp: str = "auto"
    """auto (llama-server on the PATH), or its path."""


class RepositorySpec(Section):
    """Triton model repositories served beside the fleet's own models."""

    include: Names = ()
    """Folders or s3:// addresses in Triton's repository layout, NVIDIA vLLM models and ordinary models alike."""
    load: Literal["all"] | Names = "all"
    """Models of those repositories to load when the fleet comes up."""
    api: Literal["open", "closed"] = "open"
    """Triton's repository, trace, logging and shared-memory APIs: open to clients, or closed to all but the fleet."""


class GatewaySpec(Section):
    """The OpenAI door's process: how much it takes on, and whom it lets in."""

    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = "auto"
    """Processes that share the door's work; auto takes one for every eight cores."""
    keys: Literal["auto", "off"] = "auto"
    """auto asks for an API key once `tritonfleet key create` has made one; off lets everybody in."""
    max_running: Annotated[int, Field(ge=1)] = 1024
    """Requests that one engine gets at once; further ones wait in the gateway."""
    max_waiting: Annotated[int, Field(ge=1)] = 1024
    """Requests of one model that may wait; further ones are answered with 429 and Retry-After."""
    max_wait_seconds: Seconds = 60.0
    """Longest wait before a request is answered with 429."""
    hold_seconds: Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)] = 0.0
    """Longest time that a request is held for a model none of whose replicas serves yet; 0 answers with 503 at once."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 64 * 2**20
    """Largest request body; a larger one is answered with 413."""
    max_held_bytes: Annotated[int, Field(ge=1024)] = 2**30
    """Bytes of request bodies that each worker holds at once; further requests are answered with 429."""
    header_seconds: Seconds = 15.0
    """Longest time for the headers of a request to arrive."""
    idle_seconds: Seconds = 75.0
    """Time after which a connection without a request is closed."""
    stall_seconds: Seconds = 120.0
    """Longest time for a client to send no more of a body, or to read nothing of an answer."""
    engine_silence_seconds: Seconds = 600.0
    """Longest time for an engine to send nothing before the request is given up with 504."""


class TracingSpec(Section):
    """Traces of requests, sent to an OpenTelemetry collector; needs ``pip install 'tritonfleet[otel]'``."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")]
    """Address of the collector's OTLP over HTTP, for example http://localhost:4318."""
    sample_ratio: Annotated[float, Field(gt=0, le=1, strict=False)] = 1.0
    """Share of the requests that begin a trace; one that comes with a trace of its own keeps to what that says."""

    @field_validator("endpoint")
    @classmethod
    def _base_only(cls, value: str) -> str:
        if value.rstrip("/").endswith("/v1/traces"):
            raise ValueError(f"{value!r}: leave /v1/traces out; write the collector's base address")
        return value


class ObservabilitySpec(Section):
    """What dashboards and alerts say of this fleet."""

    runbook_url: Annotated[str, Field(pattern=r"^https?://[^\s#]+$")] | None = None
    """Where alerts link to: an address of your own copy of the runbook; the one that the console serves when absent."""


class Lifecycle(Section):
    """How long the supervisor waits, and how often it tries again."""

    start_seconds: Seconds = 900.0
    """Longest time for an engine to become ready, download excluded."""
    drain_seconds: Seconds = 60.0
    """Longest time for running requests to finish after a stop was asked for."""
    stop_seconds: Seconds = 15.0
    """Time between the polite stop signal and the kill."""
    max_restarts: Annotated[int, Field(ge=0)] = 5
    """Failures within restart_window_seconds after which a model is given up."""
    restart_window_seconds: Seconds = 600.0
    """Window in which failures are counted."""
    backoff_seconds: Seconds = 1.0
    """Wait before the first restart; it doubles with each failure."""
    backoff_max_seconds: Seconds = 30.0
    """Longest wait before a restart."""
    probe_seconds: Seconds = 2.0
    """Time between two health probes of a ready engine."""
    probe_failures: Annotated[int, Field(ge=1)] = 15
    """Probes in a row that must fail before a ready engine is restarted."""


class FleetSpec(Section):
    """Everything a person writes about a fleet."""

    name: Annotated[str, Field(pattern=FLEET_NAME)] = "fleet"
    """Name of the fleet: its state folder and the `fleet` label of its metrics."""
    models: tuple[ModelSpec, ...] = Field((), strict=False)
    """The models, in the order in which devices are given out."""
    doors: Doors = Doors()
    """Addresses and ports."""
    runtimes: RuntimeChoice = RuntimeChoice()
    """Programs to use."""
    repository: RepositorySpec = RepositorySpec()
    """Further model repositories."""
    gateway: GatewaySpec = GatewaySpec()
    """The OpenAI door's process."""
    share: dict[str, ShareSpec] = Field(default_factory=dict)
    """How the models of each share group take turns, by the group's name; every key has a default."""
    lifecycle: Lifecycle = Lifecycle()
    """Deadlines and restarts."""
    tracing: TracingSpec | None = None
    """Where traces of requests go; nowhere when absent."""
    observability: ObservabilitySpec = ObservabilitySpec()
    """Dashboards and alerts."""

    @model_validator(mode="after")
    def _names_differ(self) -> FleetSpec:
        if not self.models and not self.repository.include:
            raise ValueError("the fleet has no models; add one under models, or a folder under repository.include")
        seen: set[str] = set()
        for model in self.models:
            for name in (model.name, *model.lora):
                if name in seen:
                    raise ValueError(f"the name {name!r} is used twice; names of models and adapters must differ")
                seen.add(name)
        return self

    @model_validator(mode="after")
    def _groups_stay_in_one_pool(self) -> FleetSpec:
        first: dict[str, ModelSpec] = {}
        for model in self.models:
            if model.share is None or model.pool is None:
                continue
            other = first.setdefault(model.share, model)
            if other.pool != model.pool:
                raise ValueError(
                    f"models of the share group {model.share!r} take turns on the same GPUs, so they share a pod: "
                    f"the pool of {model.name!r} is {model.pool!r} and that of {other.name!r} is {other.pool!r}; "
                    "name one pool"
                )
        return self

    def pool_of(self, model: ModelSpec) -> str:
        """Return the pool of *model*: its own or its share group's ``pool``, else the group's or the model's name."""
        if model.share is None:
            return model.pool or model.name
        named = (other.pool for other in self.models if other.share == model.share and other.pool is not None)
        return next(named, model.share)

    @model_validator(mode="after")
    def _groups_exist(self) -> FleetSpec:
        groups = sorted({model.share for model in self.models if model.share})
        for name, settings in self.share.items():
            if name not in groups:
                near = difflib.get_close_matches(name, groups, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the groups are: {', '.join(groups) or 'none'}"
                raise ValueError(f"share: no model names the group {name!r}; {hint}")
            with_lora = [model.name for model in self.models if model.share == name and model.lora]
            if settings.sleep == 2 and with_lora:
                raise ValueError(
                    f"share.{name}.sleep: vLLM does not bring LoRA adapters back from level 2, and {with_lora[0]} has "
                    "some; write 1, stop or auto"
                )
        return self

    def sharing(self, group: str) -> ShareSpec:
        """Return how the models of *group* take turns."""
        return self.share.get(group) or ShareSpec()

    def model(self, name: str) -> ModelSpec | None:
        """Return the model called *name*, or None."""
        return next((model for model in self.models if model.name == name), None)


def check_source(value: str) -> str:
    """Return *value* if it has the form of a source, else raise ValueError saying what to write."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        if not value.strip():
            raise ValueError("the source is empty; write a folder or hf://org/name")
        return value
    if scheme not in SOURCE_SCHEMES:
        known = ", ".join(f"{name}://" for name in SOURCE_SCHEMES)
        raise ValueError(f"{scheme}:// is not a known source; write a folder or one of {known}")
    if not rest.strip("/"):
        raise ValueError(f"{value!r} names nothing after {scheme}://")
    if scheme == "hf" and not re.fullmatch(r"[\w.-]+/[\w.-]+(/[\w./-]+\.gguf)?(@[\w./-]+)?", rest):
        raise ValueError(
            f"{value!r} is not of the form hf://org/name, hf://org/name@revision or hf://org/name/file.gguf"
        )
    return value


def json_schema() -> Mapping[str, Any]:
    """Return the JSON schema of fleet.yaml (draft 2020-12)."""
    schema = FleetSpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "tritonfleet fleet.yaml"
    return schema


def schema_text() -> str:
    """Return the published text of the JSON schema, ``schema/fleet.schema.json``."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
