"""`tritonfleet client`: prompts from a file to one model, answers and times to the screen and a results file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Option = typer.Option


def client(
    model_name: Annotated[str, Option("--model-name", "-m", help="Model to ask.", show_default=False)],
    input_prompts: Annotated[Path, Option("--input-prompts", help="UTF-8 file, one prompt a line.")] = Path(
        "prompts.txt"
    ),
    results_file: Annotated[Path | None, Option("--results-file", help="[default: MODEL_results.txt]")] = None,
    streaming_mode: Annotated[
        bool, Option("--streaming-mode", "-s", help="Stream the answers; this shows the time to first token.")
    ] = False,
    iterations: Annotated[int, Option("--iterations", min=1, help="Passes over the prompts.")] = 1,
    concurrency: Annotated[
        int | None, Option("--concurrency", "-c", min=1, help="Requests at a time. [default: all]")
    ] = None,
    url: Annotated[
        str | None, Option("--url", "-u", help="Triton's HOST:PORT. [default: localhost:8001, or :8000 with --http]")
    ] = None,
    http: Annotated[bool, Option("--http", help="Use Triton's HTTP door instead of gRPC.")] = False,
    timeout: Annotated[
        float, Option("--timeout", "--stream-timeout", "-t", min=0, help="Seconds for one request; 0 waits for ever.")
    ] = 600.0,
    offset: Annotated[int, Option("--offset", min=0, help="Number of the first request.")] = 0,
    system: Annotated[str | None, Option("--system", help="System message before each prompt.")] = None,
    raw: Annotated[bool, Option("--raw", help="Send the prompts without the model's chat template.")] = False,
    max_tokens: Annotated[int, Option("--max-tokens", min=1, help="Longest answer in tokens.")] = 512,
    temperature: Annotated[float, Option("--temperature", min=0, help="0 takes the likeliest token each time.")] = 0.0,
    top_p: Annotated[
        float | None, Option("--top-p", min=0, max=1, help="Share of the likeliest tokens to draw from.")
    ] = None,
    top_k: Annotated[int | None, Option("--top-k", help="Number of likeliest tokens to draw from.")] = None,
    seed: Annotated[int | None, Option("--seed", help="Makes a draw repeatable.")] = None,
    sampling: Annotated[str | None, Option("--sampling", help="Further sampling parameters as a JSON object.")] = None,
    lora_name: Annotated[str | None, Option("--lora-name", help="LoRA adapter of the model.")] = None,
    verbose: Annotated[bool, Option("--verbose", "-v", help="Print the prompts as sent, and the answers.")] = False,
) -> None:
    """Send a file of prompts to a model; print the times, write the answers, say PASS or FAIL."""
    from tritonfleet.cli.asking import Ask, ask
    from tritonfleet.client import parse_address
    from tritonfleet.client.sampling import build_sampling

    chosen = build_sampling(
        sampling,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        lora_name=lora_name,
    )
    wanted = Ask(
        model=model_name,
        address=parse_address(url, "http" if http else None),
        prompts=input_prompts,
        results=results_file or Path(f"{model_name}_results.txt"),
        stream=streaming_mode,
        iterations=iterations,
        concurrency=concurrency,
        timeout_seconds=timeout or None,
        offset=offset,
        system=system,
        raw=raw,
        sampling=chosen,
        verbose=verbose,
    )
    code = ask(wanted)
    if code:
        raise typer.Exit(code)
