"""The command line of the fake engine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What the fake engine was asked to do; each field is the option of the same name."""

    uds: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    model: str = "fake"
    served_model_name: str | None = None
    lora_modules: tuple[str, ...] = ()
    max_model_len: int = 4096
    # pace
    start_seconds: float = 0.0
    ttft_ms: float = 0.0
    tpot_ms: float = 0.0
    answer_tokens: int | None = None
    max_running: int = 256
    sleep_ms: float = 0.0
    wake_ms: float = 0.0
    # failures
    fail_start: int = 0
    fail_start_message: str = "the fake engine was told to fail"
    crash_after: int = 0
    hang_health_after: float | None = None
    sick_health_after: float | None = None
    error_rate: float = 0.0
    ignore_sigterm: bool = False
    spawn_child: bool = False
    # troubles of the sleep mode
    fail_sleep: int = 0
    fail_wake: int = 0
    hang_wake: int = 0
    hang_after_wake: int = 0
    crash_on_busy_sleep: bool = False
    memory_file: str | None = None
    memory_bytes: int = 0
    leak_bytes: int = 0

    @property
    def name(self) -> str:
        """The model's name in the API."""
        return self.served_model_name or self.model

    @property
    def adapters(self) -> dict[str, str]:
        """LoRA adapters: name to folder."""
        return dict(module.split("=", 1) for module in self.lora_modules)


def parse_options(argv: Sequence[str] | None = None) -> Options:
    """Read the command line; a wrong one ends the process with status 2, as argparse does."""
    values = vars(_parser().parse_args(argv))
    return Options(**{**values, "lora_modules": tuple(values["lora_modules"])})


def _parser() -> argparse.ArgumentParser:
    default = Options()
    parser = argparse.ArgumentParser(
        prog="python -m tritonfleet.fake_engine",
        description="The OpenAI API of an LLM engine with scripted delays and failures, and no model.",
        allow_abbrev=False,
    )
    where = parser.add_argument_group("address and names")
    where.add_argument("--uds", help="Unix socket to listen on")
    where.add_argument("--host", default=default.host, help="address to listen on, without --uds")
    where.add_argument("--port", type=int, default=default.port, help="TCP port to listen on, without --uds")
    where.add_argument("--model", default=default.model, help="name or folder of the model; shown, never read")
    where.add_argument("--served-model-name", metavar="NAME", help="name in the API; --model when absent")
    where.add_argument("--lora-modules", nargs="+", type=_adapter, default=(), metavar="NAME=PATH", help="adapters")
    where.add_argument(
        "--max-model-len", type=_count, default=default.max_model_len, metavar="TOKENS", help="prompt plus answer"
    )
    pace = parser.add_argument_group("pace")
    pace.add_argument(
        "--start-seconds", type=_amount, default=0.0, metavar="S", help="time between the start and the first answer"
    )
    pace.add_argument("--ttft-ms", type=_amount, default=0.0, metavar="MS", help="time to a request's first token")
    pace.add_argument("--tpot-ms", type=_amount, default=0.0, metavar="MS", help="time between two tokens")
    pace.add_argument(
        "--answer-tokens", type=_count, metavar="N", help="length of an uncut answer; the prompt's own when absent"
    )
    pace.add_argument(
        "--max-running", type=_count, default=default.max_running, metavar="N", help="requests at once; others wait"
    )
    pace.add_argument("--sleep-ms", type=_amount, default=0.0, metavar="MS", help="time that /sleep takes")
    pace.add_argument("--wake-ms", type=_amount, default=0.0, metavar="MS", help="time that /wake_up takes")
    trouble = parser.add_argument_group("failures")
    trouble.add_argument("--fail-start", type=int, default=0, metavar="CODE", help="end with CODE instead of serving")
    trouble.add_argument(
        "--fail-start-message", default=default.fail_start_message, metavar="TEXT", help="last words of --fail-start"
    )
    trouble.add_argument(
        "--crash-after", type=int, default=0, metavar="N", help="die after the first token of the Nth request"
    )
    trouble.add_argument(
        "--hang-health-after", type=_amount, metavar="S", help="seconds after which /health never answers"
    )
    trouble.add_argument("--sick-health-after", type=_amount, metavar="S", help="seconds until /health answers 503")
    trouble.add_argument(
        "--error-rate", type=_share, default=0.0, metavar="R", help="share of requests that fail with 500, 0 to 1"
    )
    trouble.add_argument("--ignore-sigterm", action="store_true", help="do not end on SIGTERM")
    trouble.add_argument("--spawn-child", action="store_true", help="start a child that outlives a killed engine")
    _add_sleep_troubles(parser)
    return parser


def _add_sleep_troubles(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("troubles of the sleep mode; a sleep or wake is counted from 1 in each process")
    group.add_argument("--fail-sleep", type=int, default=0, metavar="N", help="answer the Nth /sleep with 500")
    group.add_argument("--fail-wake", type=int, default=0, metavar="N", help="answer the Nth /wake_up with 500")
    group.add_argument("--hang-wake", type=int, default=0, metavar="N", help="never answer the Nth /wake_up")
    group.add_argument(
        "--hang-after-wake", type=int, default=0, metavar="N", help="answer the Nth /wake_up, and no request after it"
    )
    group.add_argument("--crash-on-busy-sleep", action="store_true", help="die when put to sleep with running requests")
    group.add_argument("--memory-file", metavar="PATH", help="file that always holds the bytes that are taken")
    group.add_argument("--memory-bytes", type=int, default=0, metavar="N", help="bytes that are taken while awake")
    group.add_argument("--leak-bytes", type=int, default=0, metavar="N", help="bytes that a sleep does not give back")


def _adapter(text: str) -> str:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=path")
    return text


def _amount(text: str) -> float:
    if not (value := float(text)) >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is negative")
    return value


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1")
    return value


def _share(text: str) -> float:
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value
