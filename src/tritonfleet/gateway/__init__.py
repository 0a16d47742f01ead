"""The OpenAI door: one address for every model of a fleet, in a process of its own.

It finds the model that a request names, chooses one of that model's engines and passes bytes both ways. It never
looks into tokens, starts no engine and keeps no state that a restart would lose.
"""

from tritonfleet.gateway.command import GatewayOptions, command

__all__ = ["GatewayOptions", "command"]
