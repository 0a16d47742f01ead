"""Every error that tritonfleet raises on purpose.

The tree, with each class's process exit code and HTTP status::

    FleetError                  exit 1, 500
    ├── UsageError              exit 2, 400   what the person typed cannot be done
    │   ├── SpecError           exit 2, 400   fleet.yaml is wrong; names file, line and the fix
    │   └── SourceError         exit 2, 404   a model source cannot be read
    ├── RuntimeMissing          exit 3, 503   Triton or an engine is not installed here
    ├── CapacityError           exit 4, 409   the fleet does not fit on the devices
    ├── EngineFailed            exit 5, 503   an engine did not start, or gave up
    ├── TritonFailed            exit 5, 503   tritonserver did not start, or refused
    ├── RequestFailed           exit 1, 502   a request to a running fleet got no complete answer
    │   ├── RequestRefused      exit 1, 400   the server or the model refused it
    │   ├── UnknownModel        exit 2, 404   no such model is loaded
    │   ├── Unreachable         exit 6, 503   nothing answers at the address
    │   ├── ConnectionLost      exit 1, 502   the server went away before the answer was complete
    │   └── RequestTimeout      exit 1, 504   no complete answer within the deadline
    ├── NotRunning              exit 6, 503   no supervisor answers for this fleet
    └── AlreadyRunning          exit 6, 409   the fleet or its ports are taken

Messages name the thing, the value, and the next step. Third-party exceptions never leave the module that
called the third party: they are raised again as one of these with ``from``.
"""

from __future__ import annotations

from typing import ClassVar


class FleetError(Exception):
    """Root of the tree: anything that tritonfleet reports without a traceback."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500


class UsageError(FleetError):
    """What the person asked for cannot be done as asked."""

    exit_code = 2
    http_status = 400


class SpecError(UsageError):
    """fleet.yaml is wrong; the message names file, line, value and what to write instead."""


class SourceError(UsageError):
    """A model source (folder, hf://, s3://, demo://) cannot be read."""

    http_status = 404


class RuntimeMissing(FleetError):
    """Triton or an engine's environment is not installed and could not be built."""

    exit_code = 3
    http_status = 503


class CapacityError(FleetError):
    """The fleet does not fit on the devices; the message shows the arithmetic."""

    exit_code = 4
    http_status = 409


class EngineFailed(FleetError):
    """An engine did not become ready, or failed too often; the message ends with its last log lines."""

    exit_code = 5
    http_status = 503


class TritonFailed(FleetError):
    """tritonserver did not become ready, or refused a request of the supervisor."""

    exit_code = 5
    http_status = 503


class RequestFailed(FleetError):
    """A request to a running fleet got no complete answer; the message says who ended it and why."""

    http_status = 502


class RequestRefused(RequestFailed):
    """The server or the model refused the request; the message ends with its own words."""

    http_status = 400


class UnknownModel(RequestFailed):
    """No model of this name is loaded; the message names those that are."""

    exit_code = 2
    http_status = 404


class Unreachable(RequestFailed):
    """Nothing answers at the address, or what answers is another kind of server."""

    exit_code = 6
    http_status = 503


class ConnectionLost(RequestFailed):
    """The server went away before the answer was complete."""


class RequestTimeout(RequestFailed):
    """No complete answer came within the deadline."""

    http_status = 504


class NotRunning(FleetError):
    """No supervisor answers for this fleet."""

    exit_code = 6
    http_status = 503


class AlreadyRunning(FleetError):
    """The fleet is up already, or one of its ports is taken."""

    exit_code = 6
    http_status = 409
