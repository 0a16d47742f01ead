"""Progress: sums, words, and what the callback raises."""

from __future__ import annotations

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.progress import Meter, Stopped, TerminalProgress, Transfer, amount_text, silent, size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (14_500_000_000, "13.5 GiB"), (2**41, "2.0 TiB")],
)
def test_sizes_read_well(count: int, text: str) -> None:
    """In the unit that fits."""
    assert size_text(count) == text


def test_amounts_name_their_unit() -> None:
    """Bytes by size, other things by number."""
    assert amount_text(Transfer("a", 1024, 2048)) == "1.0 KiB of 2.0 KiB"
    assert amount_text(Transfer("a", 3, 142, "packages")) == "3 of 142 packages"


@given(st.lists(st.integers(0, 50)), st.integers(0, 500))
def test_a_meter_ends_only_when_told(counts: list[int], total: int) -> None:
    """Until then a copy can still fail, so the last byte is not reported."""
    seen: list[Transfer] = []
    meter = Meter("a", total, seen.append)
    for count in counts:
        meter.add(count)
    assert all(transfer.done < max(total, 1) for transfer in seen)
    meter.finish()
    assert seen[-1] == Transfer("a", total, total)


def test_a_meter_adds_up_over_threads() -> None:
    """Files are copied side by side."""
    seen: list[Transfer] = []
    meter = Meter("a", 10_000, seen.append)
    threads = [threading.Thread(target=lambda: [meter.add(1) for _ in range(1000)]) for _ in range(4)]  # type: ignore[func-returns-value]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(transfer.done for transfer in seen) == 4000


def test_what_the_callback_raises_comes_back_in_the_callers_thread() -> None:
    """Libraries in between see an ordinary exception."""

    def interrupt(transfer: Transfer) -> None:
        raise KeyboardInterrupt

    meter = Meter("a", 10, interrupt)
    with pytest.raises(Stopped):
        meter.add(1)
    with pytest.raises(Stopped):
        meter.add(1)
    with pytest.raises(KeyboardInterrupt):
        meter.reraise()
    Meter("a", 10, silent).reraise()


def test_without_a_terminal_there_are_a_first_and_a_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Not one for each piece; and none where nothing had to be done."""
    with TerminalProgress() as progress:
        for done in range(1, 11):
            progress(Transfer("model", done * 1024, 10 * 1024))
        progress(Transfer("cached", 0, 0))
    assert capsys.readouterr().err.splitlines() == ["model: 1.0 KiB of 10.0 KiB", "model: 10.0 KiB of 10.0 KiB"]


def test_on_a_terminal_there_are_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They go when the work ends, and when it fails."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    progress = TerminalProgress()
    progress(Transfer("model", 5, 10))
    progress(Transfer("model", 10, 10))

    def fail() -> None:
        with TerminalProgress() as failing:
            failing(Transfer("other", 5, 10))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    shown = capsys.readouterr().err
    assert "model" in shown
    assert "10 B of 10 B" in shown
