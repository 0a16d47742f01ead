"""Rebuild a Terraform provider's schema from its CDK bindings on npm.

The registry that serves providers is often out of reach (a sealed network, a CI without egress), while the
generated CDK bindings come from npm and name every resource, block, attribute, type and flag of one exact
provider release. This module reads the generated ``index.js`` and ``index.d.ts`` files and writes the schema
as JSON; `server.py` serves it to the real Terraform. It knows nothing of values: ARN, CIDR and enum checks
are the provider's own and stay out.

usage: bindings.py LIB_DIRECTORY OUT.json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "string"}
GETTERS = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "getStringMapAttribute": ["map", "string"],
}
NESTING = {"list": "LIST", "set": "SET", "struct": "SINGLE", "map": "MAP"}
KINDS = {"TerraformResource": "resources", "TerraformDataSource": "data", "TerraformProvider": "provider"}

CLASS = re.compile(r"^class (\w+) extends ([\w.]+) \{\n(.*?)^\}\n", re.S | re.M)
FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}\n", re.S | re.M)
ENTRY = re.compile(
    r'^\s+(\w+): \{\n\s+value: (.*?),\n\s+isBlock: (true|false),\n\s+type: "(\w+)",\n'
    r'\s+storageClassType: "(\w+)",',
    re.M | re.S,
)
FLAGS = re.compile(r"// (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n")
RESOURCE_TYPE = re.compile(r'tfResourceType = "(\w+)"')
VERSION = re.compile(r"providerVersion: '([\d.]+)'")
INTERFACE = re.compile(r"^export interface (\w+)(?: extends [\w., ]+)? \{\n(.*?)^\}\n", re.S | re.M)
PROPERTY = re.compile(
    r"/\*\*(?P<doc>.*?)\*/\s*readonly \w+(?P<optional>\??): (?P<type>[^;{]*)",
    re.S,
)
DOC_NAME = re.compile(r"#(\w+) \w+#\w+\}")

Json = dict[str, Any]


@dataclass(frozen=True)
class Property:
    """What the TypeScript interface says of one argument."""

    required: bool
    many: bool
    block: bool


@dataclass
class Source:
    """The generated code of one resource: classes, HCL writers and interfaces, by name."""

    text: str
    classes: dict[str, tuple[str, str]] = field(default_factory=dict)
    writers: dict[str, str] = field(default_factory=dict)
    interfaces: dict[str, dict[str, Property]] = field(default_factory=dict)

    def property_of(self, owner: str, name: str) -> Property | None:
        for interface in (f"{owner}Config", owner):
            found = self.interfaces.get(interface, {}).get(name)
            if found:
                return found
        return None


def read_properties(interface: str) -> Iterator[tuple[str, Property]]:
    for item in PROPERTY.finditer(interface):
        name = DOC_NAME.search(item["doc"])
        if name:
            block = f"* {name[1]} block\n" in item["doc"]
            yield name[1], Property(required=not item["optional"], many="[]" in item["type"], block=block)


def read_source(folder: Path) -> Source:
    """Read all generated files of one resource folder."""
    text = "\n".join(path.read_text() for path in sorted(folder.rglob("*.js")))
    source = Source(text)
    for match in CLASS.finditer(text):
        source.classes[match[1]] = (match[2].split(".")[-1], match[3])
    for match in FUNCTION.finditer(text):
        source.writers[match[1].lower()] = match[2]
    for path in sorted(folder.rglob("*.d.ts")):
        for match in INTERFACE.finditer(path.read_text()):
            source.interfaces[match[1]] = dict(read_properties(match[2]))
    return source


def value_type(kind: str, storage: str) -> Any:
    """Terraform's JSON type of an argument, from the pair that the bindings give."""
    for suffix, wrap in (
        ("ListMap", lambda item: ["map", ["list", item]]),
        ("MapList", lambda item: ["list", ["map", item]]),
        ("ListList", lambda item: ["list", ["list", item]]),
        ("MapMap", lambda item: ["map", ["map", item]]),
        ("List", lambda item: ["set" if kind == "set" else "list", item]),
        ("Map", lambda item: ["map", item]),
    ):
        if storage.endswith(suffix) and storage[: -len(suffix)] in PRIMITIVES:
            return wrap(PRIMITIVES[storage[: -len(suffix)]])
    primitive = PRIMITIVES.get(storage, "string")
    return [kind, primitive] if kind in ("list", "set", "map") else primitive


def computed_type(source: Source, body: str, name: str) -> Any:
    """Type of an attribute that only the provider sets, from its getter; ``dynamic`` where it cannot be told."""
    start = body.index(f"// {name} - computed: true, optional: false")
    segment = body[start : body.find("\n    }", start)]
    reference = re.search(rf'new (\w+?)(List|Map|OutputReference)\(this, "{name}", (true|false)', body)
    if reference:
        item = object_type(source, reference[1])
        return [("set" if reference[3] == "true" else "list"), item] if reference[2] == "List" else item
    if "StringMap(this" in segment:
        return ["map", "string"]
    getter = re.search(r"this\.(get\w+Attribute)\('", segment)
    found: Any = GETTERS.get(getter[1], "string") if getter else "dynamic"
    return ["set", found[1]] if "fn.tolist" in segment.lower() and isinstance(found, list) else found


def object_type(source: Source, struct: str) -> Any:
    if f"{struct}OutputReference" not in source.classes:
        return "dynamic"
    body = source.classes[f"{struct}OutputReference"][1]
    fields = {name: attribute["type"] for name, attribute in build(source, struct, body, "")["attributes"].items()}
    return ["object", fields] if fields and "dynamic" not in fields.values() else "dynamic"


def nested(source: Source, owner: str, name: str, kind: str, storage: str, value: str) -> tuple[str, Json]:
    """A block, or the framework's nested attribute: which of the two, and its schema."""
    struct = storage.removesuffix("List") if kind in ("list", "set") else storage.removesuffix("Map")
    body = source.classes.get(f"{struct}OutputReference", ("", ""))[1]
    block = build(source, struct, body, source.writers.get(struct.lower(), ""))
    known = source.property_of(owner, name)
    required = bool(known and known.required)
    nesting = NESTING.get(kind, "LIST")
    if known and not known.block:
        return "attributes", {
            "type": None,
            "nesting": nesting,
            "block": block,
            "required": required,
            "optional": not required,
            "computed": not required,
        }
    many = known.many if known else "listMapperHcl" in value
    repeated = nesting in ("LIST", "SET")
    return "blocks", {
        "nesting": nesting,
        "min": int(required and repeated),
        "max": int(repeated and not many),
        "block": block,
    }


def build(source: Source, owner: str, body: str, writer: str) -> Json:
    """Schema of one class: its arguments from the HCL writer, its computed attributes from the getters."""
    result: Json = {"attributes": {}, "blocks": {}}
    flags = {
        match[1]: {"computed": match[2] == "true", "optional": match[3] == "true", "required": match[4] == "true"}
        for match in FLAGS.finditer(body)
    }
    for name, value, is_block, kind, storage in ENTRY.findall(writer):
        if is_block == "true":
            place, entry = nested(source, owner, name, kind, storage, value)
            result[place][name] = entry
            continue
        argument = source.property_of(owner, name)
        required = bool(argument and argument.required)
        guess = {"computed": not required, "optional": not required, "required": required}
        result["attributes"][name] = {"type": value_type(kind, storage), **flags.get(name, guess)}
    for name, flag in flags.items():
        known = name in result["attributes"] or name in result["blocks"]
        if flag["computed"] and not (known or flag["optional"] or flag["required"]):
            result["attributes"][name] = {"type": computed_type(source, body, name), **flag}
    return result


def read_package(lib: Path) -> Json:
    """The whole provider: version, provider block, resources and data sources."""
    schema: Json = {"version": None, "resources": {}, "data": {}, "provider": None, "skipped": []}
    for folder in sorted(path.parent for path in lib.glob("*/index.js")):
        source = read_source(folder)
        version = VERSION.search(source.text)
        schema["version"] = schema["version"] or (version[1] if version else None)
        try:
            add_folder(schema, source)
        except RecursionError:  # a block that contains itself; Terraform unrolls it, the bindings do not
            schema["skipped"].append(folder.name)
    return schema


def add_folder(schema: Json, source: Source) -> None:
    for name, (base, body) in source.classes.items():
        kind = KINDS.get(base)
        if kind is None:
            continue
        writer = body[body.find("synthesizeHclAttributes") :]
        block = build(source, name, body, writer)
        if kind == "provider":
            schema["provider"] = block
            continue
        found = RESOURCE_TYPE.search(body) or RESOURCE_TYPE.search(source.text)
        if found:
            schema[kind][found[1]] = block


def main() -> None:
    lib, out = Path(sys.argv[1]), Path(sys.argv[2])
    schema = read_package(lib)
    out.write_text(json.dumps(schema))
    counts = {kind: len(schema[kind]) for kind in ("resources", "data", "skipped")}
    print(json.dumps({"version": schema["version"], **counts}))


if __name__ == "__main__":
    main()
