"""The pure parts of the fake engine, and its adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engines.launches import launch
from tritonfleet.engines import adapter
from tritonfleet.errors import UsageError
from tritonfleet.fake_engine.answer import Step, answer
from tritonfleet.fake_engine.options import Options, parse_options
from tritonfleet.fake_engine.request import read_completion
from tritonfleet.fake_engine.scheduler import Scheduler
from tritonfleet.fake_engine.vocabulary import Vocabulary

texts = st.text(st.characters(exclude_categories=["Cs"]))


def steps(prompt: str, *, answer_tokens: int | None = None, room: int = 10_000, **body: Any) -> list[Step]:
    """Return the whole answer to a completion request."""
    vocabulary = Vocabulary()
    request = read_completion({"prompt": prompt, "max_tokens": 100, **body}, vocabulary)
    return list(answer(request, request.prompts[0], 0, vocabulary, answer_tokens=answer_tokens, room=room))


def text(found: Sequence[Step]) -> str:
    """Join what a stream shows."""
    return "".join(step.text for step in found)


@given(texts)
def test_tokens_are_the_text(given_text: str) -> None:
    """Nothing is lost, and ids are turned back by any engine that has seen them."""
    vocabulary = Vocabulary()
    assert "".join(vocabulary.split(given_text)) == given_text
    assert vocabulary.decode(vocabulary.encode(given_text)) == given_text


@given(texts.filter(str.strip), st.integers(1, 40))
def test_an_answer_has_its_length(prompt: str, limit: int) -> None:
    """One reason, with the last step; max_tokens cuts, the natural end is an END token of its own."""
    found = steps(prompt, max_tokens=limit)
    assert [step.finish_reason for step in found[:-1]] == [None] * (len(found) - 1)
    natural = len(Vocabulary().split(prompt))
    assert (found[-1].finish_reason, len(found)) == (("length", limit) if limit <= natural else ("stop", natural + 1))


@given(texts.filter(str.strip), texts.filter(bool), st.booleans())
def test_a_stop_string_is_never_shown(prompt: str, stop: str, keep: bool) -> None:
    """Neither whole nor in part, however the tokens split it; kept, it ends the text."""
    plain = text(steps(prompt, ignore_eos=True, max_tokens=30))
    found = steps(prompt, ignore_eos=True, max_tokens=30, stop=stop, include_stop_str_in_output=keep)
    if stop in plain:
        assert text(found) == plain[: plain.index(stop) + (len(stop) if keep else 0)]
        assert found[-1].stop_reason == stop
    else:
        assert text(found) == plain


def test_the_natural_length_can_be_scripted() -> None:
    """--answer-tokens, min_tokens, ignore_eos and the room in the context each have their say."""
    assert len(steps("a b", answer_tokens=7)) == 8
    assert len(steps("a b", min_tokens=5)) == 6
    assert len(steps("a b", ignore_eos=True)) == 100
    assert len(steps("a b", ignore_eos=True, room=9)) == 9


def test_a_stop_token_ends_the_answer() -> None:
    """Its text is not shown."""
    identity = Vocabulary().id_of(" two")
    found = steps("one two three", stop_token_ids=[identity])
    assert (text(found), found[-1].stop_reason) == ("one", identity)


def test_the_prompt_alone_can_be_asked_for() -> None:
    """echo with max_tokens 0 generates nothing."""
    assert steps("one two", echo=True, max_tokens=0) == [Step("", "", None, "length")]


async def test_a_turn_that_comes_while_its_waiter_is_cancelled_is_not_lost() -> None:
    """The next in the queue gets it."""
    scheduler = Scheduler(1)
    release = asyncio.Event()

    async def hold() -> None:
        async with scheduler.turn(0):
            await release.wait()

    tasks = [asyncio.create_task(hold()) for _ in range(3)]
    await asyncio.sleep(0)
    assert (scheduler.running, scheduler.waiting) == (1, 2)
    release.set()
    await tasks[0]
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert tasks[2].exception() is None
    assert (scheduler.running, scheduler.waiting) == (0, 0)


@pytest.mark.parametrize(
    "options",
    [("--error-rate", "2"), ("--ttft-ms", "-1"), ("--max-running", "0"), ("--lora-modules", "x"), ("--ttft", "5")],
)
def test_a_wrong_option_is_refused(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, as argparse has it; no abbreviations."""
    with pytest.raises(SystemExit, match="2"):
        parse_options(options)
    assert "error:" in capsys.readouterr().err


def test_the_parser_has_the_defaults_of_the_options() -> None:
    """They are written once for programs and once for people."""
    assert parse_options([]) == Options()


def test_the_adapter_turns_engine_args_into_options() -> None:
    """What it writes is read back as it was meant, every option among them."""
    wanted = {
        "start-seconds": 1.5,
        "ttft_ms": 5,
        "tpot_ms": 2.5,
        "answer_tokens": 7,
        "max_running": 3,
        "sleep_ms": 1,
        "wake_ms": 2,
        "fail_start": 3,
        "fail_start_message": "--why",
        "crash_after": 4,
        "hang_health_after": 5,
        "sick_health_after": 6,
        "error_rate": 0.5,
        "ignore_sigterm": True,
        "spawn_child": False,
        "fail_sleep": 1,
        "fail_wake": 2,
        "hang_wake": 3,
        "hang_after_wake": 4,
        "crash_on_busy_sleep": True,
        "memory_file": "/tmp/memory",
        "memory_bytes": 7,
        "leak_bytes": 2,
    }
    started = launch("fake", kind="fake", engine_args=wanted, max_model_len=99, loras={"sql": "/a"}, env={"A": "b"})
    command = adapter("fake").command(started)
    assert command.argv[1:3] == ("-m", "tritonfleet.fake_engine")
    assert command.env == {"RUNTIME": "yes", "A": "b"}
    found = parse_options(command.argv[3:])
    for name, value in wanted.items():
        assert getattr(found, name.replace("-", "_")) == value
    assert (found.name, found.uds, found.max_model_len) == ("llama2", "/run/engine.sock", 99)
    assert found.adapters == {"sql": "/a"}
    covered = {name.replace("-", "_") for name in wanted}
    own = {"uds", "host", "port", "model", "served_model_name", "max_model_len", "lora_modules"}
    assert covered | own == {field.name for field in fields(Options)}


def test_the_adapter_names_what_was_meant() -> None:
    """As every adapter does."""
    with pytest.raises(UsageError, match="did you mean ttft_ms"):
        adapter("fake").command(launch("fake", engine_args={"ttf_ms": 5}))
    with pytest.raises(UsageError, match="write `source`"):
        adapter("fake").command(launch("fake", engine_args={"model": "x"}))
    assert adapter("fake").runtime_kind(on_cpu=True) == adapter("fake").runtime_kind(on_cpu=False) == "fake"
    assert (adapter("fake").sleep(1) or adapter("fake").health).path == "/sleep?level=1"
