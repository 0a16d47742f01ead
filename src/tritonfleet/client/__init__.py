"""The client of a fleet's KServe doors: FleetClient for programs, and the parts of `tritonfleet client`."""

from tritonfleet.client.address import Address, parse_address
from tritonfleet.client.fleet_client import FleetClient
from tritonfleet.client.generation import Generation, Timing
from tritonfleet.client.messages import Chunk, GenerateRequest, IndexEntry, ModelInfo
from tritonfleet.client.template import ChatTemplate, chat_template

__all__ = [
    "Address",
    "ChatTemplate",
    "Chunk",
    "FleetClient",
    "GenerateRequest",
    "Generation",
    "IndexEntry",
    "ModelInfo",
    "Timing",
    "chat_template",
    "parse_address",
]
