"""JSON in and out of the scripts: settings, secrets, prompts, listings. Pure, but for reading the files it is given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

# What the renderer adds for the scripts, beside variables of the stacks.
SCRIPT_KEYS = {"models", "pools", "hugging_face_token_required"}


class Refused(Exception):
    """The input cannot be used; the message says why and what to write instead."""


def read(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text())
    except (OSError, json.JSONDecodeError) as err:
        raise Refused(f"{path} cannot be read as JSON: {err}") from err


def declared(stack: Path) -> set[str]:
    """Names of the variables that a stack takes."""
    return set(re.findall(r'^variable "(\w+)"', "".join(path.read_text() for path in stack.glob("*.tf")), flags=re.M))


def merge(documents: Iterable[Json], known: set[str]) -> Json:
    """Lay documents over one another, the last on top; refuse a key that no stack takes."""
    result: Json = {}
    for document in documents:
        for key in document:
            if key not in known:
                import difflib  # on the way to an error alone: the scripts start this module some fifty times

                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
                raise Refused(f"setting {key!r} is known to no part of the deployment: {hint}")
        result |= document
    return result


def at_least(version: str, least: str) -> bool:
    def numbers(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", text)[:2])

    return numbers(version) >= numbers(least)


def field(document: Any, path: str) -> str:
    """A value by its dotted path, as the shell wants it; empty where it is absent."""
    for part in path.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    if document is None:
        return ""
    return document if isinstance(document, str) else json.dumps(document)


def secret_settings(before: Json, token: str, now: int) -> Json:
    """Which secrets to write: the token when one is given, Grafana's password once."""
    versions = dict(before)
    values = {}
    if "grafana-admin" not in versions:
        import secrets  # once in the life of a deployment

        versions["grafana-admin"] = 1
        values["grafana-admin"] = json.dumps({"admin-user": "admin", "admin-password": secrets.token_urlsafe(24)})
    if token:
        versions["hugging-face-token"] = now
        values["hugging-face-token"] = token
    return {"versions": versions, "values": values}


def curl_config(url: str, model: str, api_key: str) -> str:
    """A curl configuration that asks a model for a few tokens."""
    body = json.dumps({"model": model, "prompt": "Triton is", "max_tokens": 16, "temperature": 0})
    lines = [f"url = {json.dumps(url)}", 'header = "Content-Type: application/json"', f"data = {json.dumps(body)}"]
    if api_key:
        lines.append(f"header = {json.dumps(f'Authorization: Bearer {api_key}')}")
    return "\n".join(lines)


def answer_text(model: str, text: str) -> str:
    """The words that a model answered; refused where there are none."""
    try:
        choice = json.loads(text)["choices"][0]
    except (ValueError, LookupError, TypeError) as err:
        raise Refused(f"{model}: no completion in {text[:200]!r}") from err
    words = " ".join(str(choice.get("text", "")).split())
    if not words:
        raise Refused(f"{model}: the completion is empty")
    return f"{model}: {words[:70]}"


def leftovers(document: Json) -> list[str]:
    """ARNs that a tag still finds."""
    return sorted(item["ResourceARN"] for item in document.get("ResourceTagMappingList", []))


def load_balanced(document: Json) -> list[str]:
    """Namespace and name of every Service that holds a load balancer."""
    services = [item for item in document["items"] if item["spec"].get("type") == "LoadBalancer"]
    return [f"{item['metadata']['namespace']} {item['metadata']['name']}" for item in services]


def delete_request(document: Json) -> Json:
    """What S3's DeleteObjects takes, of what ListObjectVersions gave."""
    entries = (document.get("Versions") or []) + (document.get("DeleteMarkers") or [])
    return {"Objects": [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in entries[:1000]], "Quiet": True}
