"""From a spec to what runs it in a cluster: Helm values, Terraform inputs, model repository.

``render`` is pure: spec, facts of the models and the machines that may run them in, files out. What needs the
network (facts, gated models, the copy of weights, the door of many pools) lies in modules of its own.
"""

from tritonfleet.deploy.pools import Pool, plan_pools
from tritonfleet.deploy.rendering import Rendered, render

__all__ = ["Pool", "Rendered", "plan_pools", "render"]
