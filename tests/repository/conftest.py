"""An S3 server in the test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sources import s3


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server in this process."""
    with s3.serve() as url:
        yield url


@pytest.fixture
def bucket(s3_server: str) -> s3.Bucket:
    """An empty bucket."""
    return s3.new_bucket(s3_server)
