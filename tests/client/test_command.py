"""`tritonfleet client` as a person runs it, against a scripted Triton."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.client.fake_triton import FakeTriton
from tritonfleet.cli.client import client
from tritonfleet.client import Address
from tritonfleet.client.results import parse_results
from tritonfleet.errors import UsageError

PROMPTS = ["What is Triton?", "트라이톤은 무엇인가요? 🙂", "=========", "last"]

#: The command alone, so that these tests do not depend on the other commands.
PROGRAM = """
import typer
import tritonfleet.cli.app
from tritonfleet.cli.client import client
tritonfleet.cli.app.app = typer.Typer()
tritonfleet.cli.app.app.command()(client)
tritonfleet.cli.app.main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a prompts file."""
    (tmp_path / "prompts.txt").write_text("\n\n".join(PROMPTS), encoding="utf-8")
    return tmp_path


async def start(folder: Path, *options: str, stdout: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    """Start the command in *folder*."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *options, cwd=folder, stdout=stdout, stderr=asyncio.subprocess.PIPE
    )


async def run(folder: Path, *options: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it printed."""
    process = await start(folder, *options)
    stdout, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


def door(address: Address) -> list[str]:
    """Options for *address*, as the original client spells the first of them."""
    return ["-u", address.netloc, *(["--http"] if address.protocol == "http" else [])]


async def test_all_answered(folder: Path, address: Address, triton: FakeTriton) -> None:
    """Every prompt goes out in the model's template, comes back, is timed and written; the last line is PASS."""
    code, out, err = await run(folder, "--model-name", "llama2", "-s", *door(address))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len([line for line in lines if line.startswith("Model llama2 - Request ")]) == len(PROMPTS)
    assert "Results: llama2_results.txt" in lines
    assert lines[-1] == "PASS: 4 of 4 requests answered"
    assert re.search(r"\b0\.0+\b", out) is None  # a measurement is never zero
    sent = {seen.tensors["text_input"] for seen in triton.seen}
    assert sent == {f"<s>[INST] {prompt} [/INST]" for prompt in PROMPTS}
    assert '"add_special_tokens": false' in triton.seen[0].tensors["sampling_parameters"]
    records = parse_results((folder / "llama2_results.txt").read_text(encoding="utf-8"))
    assert [record.prompt for record in records] == PROMPTS
    assert records[1].response == f"<s>[INST] {PROMPTS[1]} [/INST] "


async def test_iterations_offset_and_concurrency(folder: Path, triton: FakeTriton) -> None:
    """Passes are numbered on from the offset, also one request at a time."""
    code, out, _ = await run(
        folder,
        "-m",
        "llama2",
        "--iterations",
        "2",
        "--offset",
        "10",
        "-c",
        "1",
        "--results-file",
        "r.txt",
        "-u",
        f"127.0.0.1:{triton.grpc_port}",
    )
    assert code == 0
    numbers = [int(line.split("Request ")[1].split(":")[0]) for line in out.splitlines() if " - Request " in line]
    assert numbers == list(range(10, 18))
    assert len(parse_results((folder / "r.txt").read_text(encoding="utf-8"))) == 8


async def test_without_template(folder: Path, triton: FakeTriton) -> None:
    """A model without a template gets the prompts as they are, and the person is told; --raw asks for it."""
    code, _, err = await run(folder, "-m", "mistral7b", "-u", f"127.0.0.1:{triton.grpc_port}")
    assert code == 0
    assert "note: model 'mistral7b' has no chat template" in err
    assert {seen.tensors["text_input"] for seen in triton.seen} == set(PROMPTS)
    assert "add_special_tokens" not in triton.seen[0].tensors["sampling_parameters"]
    triton.seen.clear()
    code, _, err = await run(folder, "-m", "llama2", "--raw", "-u", f"127.0.0.1:{triton.grpc_port}")
    assert (code, err) == (0, "")
    assert {seen.tensors["text_input"] for seen in triton.seen} == set(PROMPTS)


async def test_failed_requests(folder: Path, address: Address) -> None:
    """Refused requests make it FAIL with the reason once and exit code 1; the file tells the reason too."""
    code, out, _ = await run(folder, "-m", "refusing", *door(address))
    assert code == 1
    assert "FAIL: 4 of 4 requests failed" in out
    assert out.splitlines()[-1].startswith("  requests 0, 1, 2, 3: model 'refusing' refused")
    records = parse_results((folder / "refusing_results.txt").read_text(encoding="utf-8"))
    assert all("temperature must be a number" in (record.error or "") for record in records)


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [("lama2", 2, "did you mean 'llama2'?"), ("broken_template", 2, "its chat template is wrong at line 1")],
)
async def test_nothing_sent(folder: Path, triton: FakeTriton, model: str, code: int, message: str) -> None:
    """What the server cannot do is said before anything is sent."""
    process = await start(folder, "-m", model, "-u", f"127.0.0.1:{triton.grpc_port}")
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert out == b"FAIL: no request was sent\n"
    assert message in err.decode()
    assert "Traceback" not in err.decode()
    assert process.returncode == code
    assert triton.seen == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_prompts": Path("none.txt")}, r"none\.txt: No such file"),
        ({"results_file": Path("no/where.txt")}, "--results-file"),
        ({"sampling": "{"}, "is not JSON"),
        ({"url": "http://localhost:8000/v2"}, "not of the form HOST:PORT"),
    ],
)
def test_mistaken_options(folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str) -> None:
    """A mistaken option is refused before a connection is made."""
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match=message):
        client(model_name="llama2", **options)


@pytest.mark.parametrize(("protocol", "number"), [("grpc", signal.SIGINT), ("http", signal.SIGTERM)])
async def test_interrupted(folder: Path, triton: FakeTriton, protocol: str, number: signal.Signals) -> None:
    """Ctrl-C cancels what runs, writes what came, and says what is missing."""
    triton.models["llama2"].hang_after = 2
    triton.models["llama2"].parameters.clear()
    port = triton.grpc_port if protocol == "grpc" else triton.http_port
    process = await start(folder, "-m", "llama2", "-s", "-u", f"{protocol}://127.0.0.1:{port}")
    assert process.stdout is not None
    seen = b""
    while seen.count(b" - Request ") < 2:  # the two prompts of one word are answered, the others hang
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line, seen
        seen += line
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert b"FAIL: 2 of 4 requests failed" in out
    assert len(parse_results((folder / "llama2_results.txt").read_text(encoding="utf-8"))) == 2
    await asyncio.wait_for(triton.cancelled.wait(), 5)


async def test_progress_bar_on_a_terminal(folder: Path, triton: FakeTriton) -> None:
    """On a terminal a bar counts the requests below the lines."""
    parent, child = pty.openpty()
    try:
        process = await start(folder, "-m", "llama2", "-u", f"127.0.0.1:{triton.grpc_port}", stdout=child)
        await asyncio.wait_for(process.wait(), 60)
        shown = os.read(parent, 65536).decode()
    finally:
        os.close(parent)
        os.close(child)
    assert process.returncode == 0
    assert "4/4" in shown
    assert "Model llama2 - Request 0:" in shown
    assert "PASS" in shown
