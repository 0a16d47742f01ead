"""Object stores (s3://, gs://, az://) through fsspec: list, download, upload, delete.

No exception of fsspec, botocore or their kin leaves this module; all become SourceError with the next step.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NoReturn

from fsspec.callbacks import Callback

from tritonfleet.errors import SourceError
from tritonfleet.progress import Meter

Scheme = Literal["s3", "gs", "az"]
EXTRAS: Mapping[str, str] = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}

#: Files copied side by side. One file is split further by s3fs itself.
WORKERS = 4
#: Size of a part when a large file goes up; s3fs's own value, fixed here because ``md5_matches`` relies on it.
S3_PART_BYTES = 50 * 2**20
#: s3fs waits 5 s for a connection and tries five times; botocore's own retries on top would take minutes.
S3_CLIENT = {"connect_timeout": 5, "retries": {"max_attempts": 1}}

_ADDRESS = re.compile(r"(s3|gs|az)://(?:(https?://[^/]+)/)?([^/]+)/?(.*)")


class StoreUnreachable(SourceError):
    """The store cannot be reached (network), so a copy from earlier may stand in."""


@dataclass(frozen=True)
class Address:
    """A place in an object store."""

    scheme: Scheme
    bucket: str
    """Bucket or container."""
    prefix: str
    """Key prefix without slashes at its ends; empty for the whole bucket."""
    endpoint: str | None = None
    """URL of the server for s3:// addresses in Triton's form ``s3://http://host:port/bucket/prefix``."""

    def __str__(self) -> str:
        server = f"{self.endpoint}/" if self.endpoint else ""
        return f"{self.scheme}://{server}{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def path(self) -> str:
        """Bucket and prefix, as fsspec wants them."""
        return f"{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True)
class StoredObject:
    """One object below an address."""

    name: str
    """Key relative to the address."""
    size: int
    """Bytes."""
    version: str
    """Changes whenever the content does: ETag, generation or content digest."""


def parse_address(text: str) -> Address:
    """Return the address written in *text*; raise SourceError if it has another form."""
    found = _ADDRESS.fullmatch(text)
    if not found or (found[2] and found[1] != "s3"):
        raise SourceError(f"{text!r} is no object store address; write s3://bucket/prefix, gs://... or az://...")
    scheme: Any = found[1]
    return Address(scheme, bucket=found[3], prefix=found[4].strip("/"), endpoint=found[2])


class ObjectStore:
    """The objects below one address."""

    def __init__(self, address: Address, environ: Mapping[str, str]) -> None:
        self.address = address
        self._files = _open_filesystem(address, environ)

    def listing(self) -> dict[str, StoredObject]:
        """Return every object by its name, without folder markers; nothing there is an empty result.

        Raises SourceError if the bucket does not exist or is not readable.
        """
        try:
            found = self._files.find(self.address.path, detail=True, withdirs=False)
            if not found and not self._files.exists(self.address.bucket):
                raise FileNotFoundError(self.address.bucket)  # one place explains
        except Exception as err:  # each store has its own tree
            self._explain(err, "list")
        objects = {}
        for key, info in found.items():
            name = str(key).lstrip("/").removeprefix(self.address.path).strip("/") or PurePosixPath(str(key)).name
            if info.get("type") == "directory" or str(key).endswith("/"):
                continue
            objects[_safe(name, self.address)] = StoredObject(name, int(info["size"]), _version(info))
        return objects

    def download(self, name: str, target: Path, add: Callable[[int], None]) -> None:
        """Copy one object to *target*, telling *add* of each piece; a failed copy leaves *target* unusable."""
        try:
            self._files.get_file(self._key(name), str(target), callback=_Counter(add))
        except Exception as err:
            self._explain(err, "get", name)

    def fetch(self, entry: StoredObject, target: Path, add: Callable[[int], None]) -> None:
        """Copy one object to *target*, which gets its name, and replaces what was there, once it is complete."""
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        self.download(entry.name, part, add)
        size = part.stat().st_size
        if size != entry.size:
            raise SourceError(
                f"{self.address}/{entry.name}: got {size} of {entry.size} bytes; it changed meanwhile, try again"
            )
        part.replace(target)

    def upload(self, path: Path, name: str, add: Callable[[int], None]) -> None:
        """Copy a file to the object *name*."""
        options = {"chunksize": S3_PART_BYTES} if self.address.scheme == "s3" else {}
        try:
            self._files.put_file(str(path), self._key(name), callback=_Counter(add), **options)
        except Exception as err:
            self._explain(err, "put", name)

    def write(self, name: str, content: bytes) -> None:
        """Store *content* as the object *name*."""
        try:
            self._files.pipe_file(self._key(name), content)
        except Exception as err:
            self._explain(err, "put", name)

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects."""
        keys = [self._key(name) for name in names]
        try:
            if keys:
                self._files.rm(keys)
        except Exception as err:
            self._explain(err, "delete")

    def _key(self, name: str) -> str:
        return f"{self.address.path}/{name}"

    def _explain(self, err: Exception, verb: str, name: str = "") -> NoReturn:
        if isinstance(err, SourceError):
            raise err
        place = f"{self.address}/{name}" if name else str(self.address)
        kind = type(err).__name__
        if isinstance(err, FileNotFoundError):
            raise SourceError(
                f"{place}: does not exist (bucket {self.address.bucket}); check the spelling and the region"
            ) from err
        if kind in ("NoCredentialsError", "PartialCredentialsError", "NoAuthInEnvironmentError", "ProfileNotFound"):
            raise SourceError(f"{place}: no credentials: {err}; {_LOGIN[self.address.scheme]}") from err
        if isinstance(err, PermissionError):
            raise SourceError(
                f"{place}: access refused ({err}); the credentials in use may not {verb} it. "
                f"{_LOGIN[self.address.scheme].capitalize()}"
            ) from err
        if kind in _NETWORK or isinstance(err, ConnectionError | TimeoutError):
            server = self.address.endpoint or f"the {self.address.scheme} service"
            raise StoreUnreachable(
                f"{place}: cannot reach {server}: {err}; check the network{_ENDPOINT.get(self.address.scheme, '')}"
            ) from err
        raise SourceError(f"{place}: cannot {verb} it: {kind}: {err}") from err


_LOGIN: Mapping[str, str] = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or run where an AWS role is attached",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_CONNECTION_STRING",
}
_ENDPOINT: Mapping[str, str] = {"s3": ", and AWS_ENDPOINT_URL if the store is not Amazon's"}
_NETWORK = frozenset(
    {
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ConnectionClosedError",
        "ClientConnectorError",
        "ServerDisconnectedError",
        "ServiceRequestError",
        "FSTimeoutError",
    }
)


def copy_all(jobs: Mapping[str, Callable[[Callable[[int], None]], None]], meter: Meter) -> None:
    """Run copies side by side; each job gets the function that counts its bytes.

    The first failure ends the others, and so does an interrupt; both pass through.
    """
    stop = threading.Event()

    def run(job: Callable[[Callable[[int], None]], None]) -> None:
        def add(count: int) -> None:
            if stop.is_set():
                raise SourceError("the copy was stopped")
            meter.add(count)

        job(add)

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="copy") as pool:
        try:
            for future in as_completed([pool.submit(run, job) for job in jobs.values()]):
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            meter.reraise()
            raise


class _Counter(Callback):  # type: ignore[misc]
    """fsspec's progress interface; some stores report totals, others pieces."""

    def __init__(self, add: Callable[[int], None]) -> None:
        super().__init__()
        self._add = add
        self._seen = 0

    def relative_update(self, inc: int = 1) -> None:
        """Count *inc* more bytes."""
        self._seen += inc
        self._add(inc)

    def absolute_update(self, value: int) -> None:
        """Count up to *value* bytes."""
        self.relative_update(value - self._seen)


def _open_filesystem(address: Address, environ: Mapping[str, str]) -> Any:
    import fsspec

    # Listings must be fresh; the client itself is shared by equal options, because making one takes half a second.
    options: dict[str, Any] = {"use_listings_cache": False}
    if address.scheme == "s3":
        options |= _s3_options(address, environ)
    try:
        return fsspec.filesystem(address.scheme, **options)
    except ImportError as err:
        raise SourceError(
            f"{address}: {address.scheme}:// needs the package {EXTRAS[address.scheme]}; "
            f"run pip install 'tritonfleet[{address.scheme}]'"
        ) from err
    except Exception as err:
        raise SourceError(f"{address}: {type(err).__name__}: {err}; {_LOGIN[address.scheme]}") from err


def _s3_options(address: Address, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return s3fs's options; what *environ* does not say, botocore finds (profiles, roles)."""
    endpoint = address.endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    named = {
        "endpoint_url": endpoint,
        "key": environ.get("AWS_ACCESS_KEY_ID"),
        "secret": environ.get("AWS_SECRET_ACCESS_KEY"),
        "token": environ.get("AWS_SESSION_TOKEN"),
        "profile": environ.get("AWS_PROFILE"),
        "client_kwargs": {"region_name": region} if region else None,
    }
    return {"config_kwargs": S3_CLIENT} | {key: value for key, value in named.items() if value}


def _version(info: Mapping[str, Any]) -> str:
    md5 = md5_of(info)
    if md5:
        return md5
    for key in ("ETag", "etag", "generation", "mtime", "last_modified", "LastModified", "created"):
        if info.get(key):
            return str(info[key]).strip('"')
    return ""


def md5_of(info: Mapping[str, Any]) -> str:
    """Return the content's MD5 in hex where the store tells it: ETag (s3), md5Hash (gs), content_md5 (az)."""
    if info.get("ETag"):
        return str(info["ETag"]).strip('"')
    settings = info.get("content_settings")
    encoded = info.get("md5Hash") or (settings.get("content_md5") if isinstance(settings, Mapping) else None)
    if isinstance(encoded, str):
        encoded = base64.b64decode(encoded)
    return bytes(encoded).hex() if encoded else ""


def _safe(name: str, address: Address) -> str:
    """Return *name* if it stays below its folder; a key such as ``../../etc`` would not."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise SourceError(f"{address}: holds an object named {name!r}, which would leave the folder; rename it")
    return name
