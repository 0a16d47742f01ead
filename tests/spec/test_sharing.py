"""Share groups in fleet.yaml: defaults, and what is refused."""

from __future__ import annotations

import pytest

from tritonfleet.errors import SpecError
from tritonfleet.spec import parse_spec

TWO = """
models:
- {name: a, source: ./x, share: gpu, priority: 1}
- {name: b, source: ./y, share: gpu}
"""


def test_every_default_of_a_group_is_pinned() -> None:
    """Changing one of these changes how running fleets switch."""
    spec = parse_spec(TWO)
    assert spec.sharing("gpu").model_dump() == {
        "sleep": "auto",
        "min_residency_seconds": 2.0,
        "residency_per_switch": 4.0,
        "idle_seconds": 0.5,
        "max_wait_seconds": 30.0,
        "hold_seconds": 60.0,
        "drain_seconds": 60.0,
        "switch_seconds": 60.0,
    }


def test_a_group_takes_its_own_settings() -> None:
    """What is not written keeps its default."""
    sharing = parse_spec(TWO + "share: {gpu: {sleep: stop, hold_seconds: 5}}").sharing("gpu")
    assert (sharing.sleep, sharing.hold_seconds, sharing.idle_seconds) == ("stop", 5.0, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TWO + "share: {gpus: {}}", "no model names the group 'gpus'; did you mean 'gpu'?"),
        ("models: [{name: a, source: ./x}]\nshare: {gpu: {}}", "the groups are: none"),
        (TWO + "share: {gpu: {sleep: 3}}", "sleep"),
        (TWO.replace("priority: 1", "lora: {l: ./l}") + "share: {gpu: {sleep: 2}}", "write 1, stop or auto"),
        ("models: [{name: a, source: ./x, priority: 2}]", "priority says how a model behaves in its share group"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_write(text: str, message: str) -> None:
    """The near match, or the choices."""
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert message in str(caught.value)


def test_models_may_take_turns_on_the_cpu() -> None:
    """A fleet that is meant for one GPU runs on a laptop too."""
    assert parse_spec("models: [{name: a, source: ./x, share: g, devices: cpu}]").models[0].share == "g"
