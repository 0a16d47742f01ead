"""A provider that knows a real provider's schema and nothing else, for Terraform without a registry.

The real Terraform finds it through ``TF_REATTACH_PROVIDERS`` and validates and plans against it: a misspelt,
missing or wrongly typed argument is refused, an ephemeral value is accepted by write-only arguments alone, and
what the cloud decides comes out as unknown. Data sources answer with what the caller gives. There is no apply.

usage: server.py CONFIG.json
CONFIG: {"providers": {SOURCE: SCHEMA.json}, "data": {TYPE: {ATTRIBUTE: VALUE}}}
Prints the value of ``TF_REATTACH_PROVIDERS`` on one line, serves, and ends when standard input closes.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import msgpack
from plugin import message, service

Json = dict[str, Any]
UNKNOWN = msgpack.ExtType(0, b"\x00")
# Arguments with this ending are write-only in the aws and helm providers; the bindings do not carry the flag.
WRITE_ONLY_SUFFIX = "_wo"
MESSAGE_LIMIT_BYTES = 1 << 28

Schema = message("Schema")
NestedBlock = message("Schema.NestedBlock")
Nested = message("Schema.Object")
Attribute = message("Schema.Attribute")
DynamicValue = message("DynamicValue")


def is_write_only(name: str, spec: Json) -> bool:
    return name.endswith(WRITE_ONLY_SUFFIX) and (spec["optional"] or spec["required"])


def attribute(name: str, spec: Json) -> Any:
    flags: Json = {key: spec[key] for key in ("required", "optional", "computed")}
    if is_write_only(name, spec):
        flags |= {"write_only": True, "computed": False}
    if spec.get("block"):
        inner = [attribute(key, value) for key, value in sorted(spec["block"]["attributes"].items())]
        nested = Nested(attributes=inner, nesting=Nested.NestingMode.Value(spec["nesting"]))
        return Attribute(name=name, nested_type=nested, **flags)
    # A type that the bindings hide is served as a string: right for the few computed values it concerns.
    kind = "string" if spec["type"] == "dynamic" else spec["type"]
    return Attribute(name=name, type=json.dumps(kind).encode(), **flags)


def block(spec: Json) -> Any:
    return message("Schema.Block")(
        attributes=[attribute(name, value) for name, value in sorted(spec["attributes"].items())],
        block_types=[
            NestedBlock(
                type_name=name,
                block=block(value["block"]),
                nesting=NestedBlock.NestingMode.Value(value["nesting"]),
                min_items=value["min"],
                max_items=value["max"],
            )
            for name, value in sorted(spec["blocks"].items())
        ],
    )


def fill(spec: Json, value: Json, missing: Any) -> Json:
    """Give every unset computed attribute of *value* what ``missing(attribute)`` says, blocks included."""
    for name, item in spec["attributes"].items():
        if is_write_only(name, item):
            value[name] = None
        elif value.get(name) is None and item["computed"]:
            value[name] = missing(item)
        elif item.get("block") and value.get(name):
            for entry in value[name] if isinstance(value[name], list) else [value[name]]:
                fill(item["block"], entry, missing)
    for name, item in spec["blocks"].items():
        entries = value.get(name)
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, dict) and item["nesting"] != "MAP":
                fill(item["block"], entry, missing)
    return value


def empty(spec: Json) -> Any:
    """A known value for a data source's attribute that the caller did not give."""
    kind = spec["type"]
    if isinstance(kind, list):
        return {} if kind[0] in ("map", "object") else []
    return {"number": 0, "bool": False}.get(kind, "stub")


class Provider:
    """The methods of the Provider service that validate and plan need."""

    def __init__(self, schema: Json, data: Json) -> None:
        self.schema = schema
        self.data = data
        self.answer = self._schema_response()

    def _schema_response(self) -> Any:
        response = message("GetProviderSchema.Response")(
            provider=Schema(version=0, block=block(self.schema["provider"]))
        )
        meta = Attribute(name="user_agent", type=b'["list","string"]', optional=True)
        response.provider_meta.CopyFrom(Schema(version=0, block=message("Schema.Block")(attributes=[meta])))
        for name, spec in self.schema["resources"].items():
            response.resource_schemas[name].CopyFrom(Schema(version=0, block=block(spec)))
        for name, spec in self.schema["data"].items():
            response.data_source_schemas[name].CopyFrom(Schema(version=0, block=block(spec)))
        return response

    def GetMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        response = message("GetMetadata.Response")()
        for name in self.schema["resources"]:
            response.resources.add(type_name=name)
        for name in self.schema["data"]:
            response.data_sources.add(type_name=name)
        return response

    def GetProviderSchema(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self.answer

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return message("ValidateProviderConfig.Response")()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return message("ValidateResourceConfig.Response")()

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return message("ValidateDataResourceConfig.Response")()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:  # noqa: N802
        return message("ConfigureProvider.Response")()

    def StopProvider(self, request: Any, context: Any) -> Any:  # noqa: N802
        return message("StopProvider.Response")()

    def GetFunctions(self, request: Any, context: Any) -> Any:  # noqa: N802
        return message("GetFunctions.Response")()

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        response = message("PlanResourceChange.Response")
        value = unpack(request.proposed_new_state)
        if value is None:
            return response(planned_state=request.proposed_new_state)
        filled = fill(self.schema["resources"][request.type_name], value, lambda _: UNKNOWN)
        return response(planned_state=pack(filled))

    def ReadDataSource(self, request: Any, context: Any) -> Any:  # noqa: N802
        value = unpack(request.config) | self.data.get(request.type_name, {})
        return message("ReadDataSource.Response")(
            state=pack(fill(self.schema["data"][request.type_name], value, empty))
        )


def unpack(value: Any) -> Any:
    return msgpack.unpackb(value.msgpack, ext_hook=lambda code, data: UNKNOWN, strict_map_key=False)


def pack(value: Any) -> Any:
    return DynamicValue(msgpack=msgpack.packb(value))


def serve(source: str, path: str, data: Json) -> tuple[grpc.Server, Json]:
    limits = [
        ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
        ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    ]
    server = grpc.server(futures.ThreadPoolExecutor(8), options=limits)
    server.add_generic_rpc_handlers((service(Provider(json.loads(Path(path).read_text()), data)),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    address = {"Network": "tcp", "String": f"127.0.0.1:{port}"}
    return server, {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    started = {source: serve(source, path, config.get("data", {})) for source, path in config["providers"].items()}
    print(json.dumps({source: entry for source, (_, entry) in started.items()}), flush=True)
    sys.stdin.read()
    for server, _ in started.values():
        server.stop(grace=None)


if __name__ == "__main__":
    main()
