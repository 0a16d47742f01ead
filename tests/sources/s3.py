"""A local S3 server with one bucket a test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.server import ThreadedMotoServer


@dataclass(frozen=True)
class Bucket:
    """A bucket of the local server, and the environment that reaches it."""

    name: str
    url: str
    environ: Mapping[str, str]
    client: Any = field(repr=False)

    def put(self, prefix: str, files: Mapping[str, bytes]) -> None:
        """Store *files* below *prefix*."""
        for name, content in files.items():
            self.client.put_object(Bucket=self.name, Key=f"{prefix}/{name}", Body=content)

    def contents(self, prefix: str) -> dict[str, bytes]:
        """Return the objects below *prefix*."""
        listed = self.client.list_objects_v2(Bucket=self.name, Prefix=f"{prefix}/").get("Contents", [])
        return {
            entry["Key"].removeprefix(f"{prefix}/"): self.client.get_object(Bucket=self.name, Key=entry["Key"])[
                "Body"
            ].read()
            for entry in listed
        }


@contextmanager
def serve() -> Iterator[str]:
    """Serve S3 on a free port and return its URL."""
    server = ThreadedMotoServer(port=0, ip_address="127.0.0.1", verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


def new_bucket(url: str) -> Bucket:
    """Make a bucket of its own."""
    environ = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return Bucket(name, url, environ, client)
