"""CustomResourceDefinitions to strict JSON schemas: ``python -m tests.deploy.crds.condense FILE...``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
#: Said by Kubernetes' own schemas, which are checked elsewhere, or of no use to a check.
DROPPED = frozenset({"description", "x-kubernetes-validations", "x-kubernetes-map-type", "default", "title", "example"})
#: OpenAPI's formats that JSON schema does not know.
FORMATS = frozenset({"int32", "int64", "float", "double", "byte"})


def condensed(schema: Any) -> Any:
    """Return *schema* without texts, refusing unknown keys wherever it lists the known ones."""
    if isinstance(schema, list):
        return [condensed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    found = {key: condensed(value) for key, value in schema.items() if key not in DROPPED and key != "properties"}
    if found.get("format") in FORMATS:
        del found["format"]
    if str(found.get("pattern", "")).startswith("^(?i)"):  # Go's place for a flag; Python wants it first
        found["pattern"] = "(?i)^" + found["pattern"].removeprefix("^(?i)")
    if isinstance(schema.get("properties"), dict):
        found["properties"] = {name: condensed(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    if schema.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return {key: value for key, value in found.items() if not key.startswith("x-kubernetes") and key != "nullable"}


def schemas(text: str) -> Iterator[tuple[str, Any]]:
    """Return file name and schema of the stored version of a definition; *text* may be a chart's template."""
    plain = "\n".join(line for line in text.splitlines() if "{{" not in line)
    definition = yaml.safe_load(plain)
    spec = definition["spec"]
    for version in spec["versions"]:
        if not version["served"] or not version["storage"]:
            continue
        schema = condensed(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        yield f"{spec['names']['kind']}.{spec['group']}.{version['name']}.json", schema


def main() -> None:
    """Write the schemas of the files named on the command line."""
    for path in sys.argv[1:]:
        for name, schema in schemas(Path(path).read_text()):
            (HERE / name).write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
