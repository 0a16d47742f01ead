"""Traces: what each process of a fleet is told when `tracing` is set, and the gateway's spans."""
