"""Pages of many processes become one, and lose nothing on the way."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tritonfleet.metrics.merge import Changes, Malformed, Page, Reader, families

LABELS = {"fleet": "demo", "model": "llama2", "replica": "0", "pool": "gpu", "engine": "vllm"}
ADDED = Changes(LABELS)

names = st.from_regex(r"vllm:[a-z]{1,8}", fullmatch=True)
label_names = st.sampled_from(["model_name", "engine", "model", "reason", "x"])
#: Everything that a label's value can do to a reader of lines.
values = st.text(alphabet='ab 0,={}"\\\n#', max_size=8)
numbers = st.floats(allow_nan=False) | st.integers(-10, 10).map(float)


@st.composite
def registries(draw: st.DrawFn) -> CollectorRegistry:
    """Return a registry with a few gauges, counters and histograms."""
    registry = CollectorRegistry()
    for name in draw(st.lists(names, unique=True, min_size=1, max_size=4)):
        labels = draw(st.lists(label_names, unique=True, max_size=3))
        kind = draw(st.sampled_from([Gauge, Counter, Histogram]))
        metric: Any = kind(f"{name}_of_{kind.__name__.lower()}", draw(values) or "help", labels, registry=registry)
        for series in draw(st.lists(st.tuples(*(values for _ in labels)), unique=True, min_size=1, max_size=3)):
            one = metric.labels(*series) if labels else metric
            number = draw(numbers)
            if kind is Gauge:
                one.set(number)
            elif kind is Counter:
                one.inc(abs(number) if math.isfinite(number) else 1)
            else:
                one.observe(number)
    return registry


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample by its name and labels; two of the same would be a mistake of the page."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def page_of(*pages: tuple[str, Changes]) -> str:
    page = Page()
    for text, changes in pages:
        page.add(families(text, changes))
    return page.text()


def expected(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples of *text* as they should be on the page."""
    kept = {"engine": "engine_index", "model": "exported_model"}
    return {
        (name, frozenset({(kept.get(label, label), value) for label, value in labels} | set(LABELS.items()))): value
        for (name, labels), value in parsed(text).items()
        if not name.endswith("_created")
    }


@given(registries())
def test_every_sample_stays_with_the_labels_added(registry: CollectorRegistry) -> None:
    text = generate_latest(registry).decode()
    assert parsed(page_of((text, ADDED))) == pytest.approx(expected(text))


@given(registries(), st.data())
def test_a_reader_that_knows_the_page_returns_what_a_fresh_look_does(registry: CollectorRegistry, data: Any) -> None:
    reader = Reader(ADDED)
    for _ in range(3):
        text = generate_latest(registry).decode()
        assert reader.read(text) == families(text, ADDED)
        for collector in list(registry._collector_to_names):
            if isinstance(collector, Gauge) and not collector._labelnames:
                collector.set(data.draw(numbers))


def test_families_of_all_pages_stand_under_one_header() -> None:
    text = (
        "# HELP vllm:x Of the engine.\n# TYPE vllm:x gauge\nvllm:x 1\n"
        "# HELP vllm:y Other.\n# TYPE vllm:y counter\nvllm:y 2\n"
    )
    page = page_of((text, Changes({"replica": "0"})), (text, Changes({"replica": "1"})))
    assert page == (
        "# HELP vllm:x Of the engine.\n# TYPE vllm:x gauge\n"
        'vllm:x{replica="0"} 1\nvllm:x{replica="1"} 1\n'
        "# HELP vllm:y Other.\n# TYPE vllm:y counter\n"
        'vllm:y{replica="0"} 2\nvllm:y{replica="1"} 2\n'
    )


def test_known_metrics_get_the_tables_text() -> None:
    page = page_of(("# HELP vllm:num_requests_running x\n# TYPE vllm:num_requests_running gauge\n", ADDED))
    assert page == ""
    page = page_of(("# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 1\n", ADDED))
    assert page.startswith("# HELP vllm:num_requests_running Requests in the engine's batch.\n")


def test_one_metric_can_have_two_names() -> None:
    text = "# TYPE sglang:p_total counter\nsglang:p_total 7\n# TYPE sglang:t histogram\n" + "".join(
        f"sglang:t{rest}\n" for rest in ('_bucket{le="1"} 1', '_bucket{le="+Inf"} 2', "_sum 3", "_count 2")
    )
    changes = Changes({"a": "b"}, {"sglang:p_total": ("vllm:p_total", "vllm:q_total"), "sglang:t": ("vllm:t",)})
    assert {name for name, _ in parsed(page_of((text, changes)))} == {
        *("vllm:p_total", "vllm:q_total", "vllm:t_bucket", "vllm:t_sum", "vllm:t_count"),
    }


def test_a_family_of_another_kind_is_left_out_and_the_rest_stays() -> None:
    page = page_of(
        ("# TYPE x gauge\nx 1\n", Changes({"a": "0"})),
        ("# TYPE x counter\nx 2\n# TYPE y gauge\ny 3\n", Changes({"a": "1"})),
    )
    assert parsed(page) == {("x", frozenset({("a", "0")})): 1, ("y", frozenset({("a", "1")})): 3}


def test_only_what_is_asked_for_is_taken() -> None:
    text = "# TYPE nv_x gauge\nnv_x 1\n# TYPE tritonfleet_bridge_y gauge\ntritonfleet_bridge_y 2\n"
    assert [entry.name for entry in families(text, Changes({}, only=("tritonfleet_bridge_",)))] == [
        "tritonfleet_bridge_y"
    ]


def test_pythons_own_and_times_of_making_are_left_out() -> None:
    text = "".join(f"# TYPE {name} gauge\n{name} 1\n" for name in ("python_info", "vllm:x_created", "process_x"))
    assert [entry.name for entry in families(text, ADDED)] == ["process_x"]


@pytest.mark.parametrize(
    "line",
    [
        'x {a="1"} 2',  # a blank before the labels
        'x{a="1",} 2',  # a comma after the last
        'x{ a = "1" , b="}" } 2 1700000000000',
        'x{a="\\"{\\\\"} 2',
        "x\t2",
        "x{} 2",
    ],
)
def test_unusual_forms_are_understood(line: str) -> None:
    text = f"# a comment\n\n# TYPE x gauge\n{line}\n"
    [(key, value)] = parsed(page_of((text, Changes({"n": "1"})))).items()
    assert value == 2
    assert ("n", "1") in key[1]


def test_series_without_a_type_are_untyped() -> None:
    [found] = families("x_count 2\n", Changes({}))
    assert (found.name, found.kind) == ("x_count", "untyped")


def test_a_number_at_the_end_of_a_help_text_stays() -> None:
    [found] = Reader(ADDED).read("# HELP x since version 3\n# TYPE x gauge\nx 1\n")
    assert found.help == "since version 3"


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("", "empty"),
        ("# TYPE x gauge\nx 1", "in the middle of a line"),
        ("# TYPE x gauge\nx one\n", "'x one' has no number"),
        ("<html>no</html>\n", "is not a sample"),
        ("# TYPE x thing\nx 1\n", "is not the type"),
        ("x{a=1} 2\n", "labels that cannot be read"),
        ('x{a="1} 2\n', "is not a sample"),
    ],
)
def test_what_is_no_page_is_refused_with_the_place(page: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        Reader(ADDED).read(page)
    if page.endswith("\n"):
        with pytest.raises(Malformed, match=why):
            families(page, ADDED)


def test_a_page_that_gains_a_series_is_read_anew() -> None:
    reader = Reader(Changes({"a": "b"}))
    first, second = "# TYPE x gauge\nx 1\n", '# TYPE x gauge\nx 2\nx{c="d"} 3\n'
    assert reader.read(first)[0].samples == 'x{a="b"} 1\n'
    assert reader.read(second)[0].samples == 'x{a="b"} 2\nx{a="b",c="d"} 3\n'
    assert reader.read(first)[0].samples == 'x{a="b"} 1\n'


def test_models_get_the_pool_that_they_belong_to() -> None:
    """Other models, and series of no model, get none; a page's own pool is kept under another name."""
    page = 'a{model="x",pool="mine"} 1\na{model="y"} 2\na{other="x"} 3\n'
    text = page_of((page, Changes({"fleet": "f"}, pools={"x": "gpus"})))
    assert parsed(text) == {
        ("a", frozenset({"fleet": "f", "model": "x", "pool": "gpus", "exported_pool": "mine"}.items())): 1,
        ("a", frozenset({"fleet": "f", "model": "y"}.items())): 2,
        ("a", frozenset({"fleet": "f", "other": "x"}.items())): 3,
    }
