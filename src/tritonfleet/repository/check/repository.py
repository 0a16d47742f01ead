"""The check of a whole repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from tritonfleet.errors import UsageError
from tritonfleet.repository.check.ensemble import check_ensemble
from tritonfleet.repository.check.finding import Finding
from tritonfleet.repository.check.folder import ModelFolder, read_folder
from tritonfleet.repository.check.general import check_general
from tritonfleet.repository.check.python_model import check_python
from tritonfleet.repository.check.vllm_model import check_vllm


def check_repository(path: Path, *, beside: Sequence[Path] = ()) -> list[Finding]:
    """Return everything that is wrong or odd in the repository at *path*, model by model; nothing means it is fine.

    Repositories *beside* it, which the same server reads, are not checked; ensembles may use their models.

    Raises UsageError if there is no such folder.
    """
    if "://" in str(path) or str(path).startswith(("s3:/", "gs:/", "az:/")):
        raise UsageError(f"{path}: a check reads local folders; run `tritonfleet repository pull` first")
    if (path / "config.pbtxt").is_file():
        fix = f"check its parent: {path.absolute().parent}"
        return [Finding("error", PurePosixPath("config.pbtxt"), "this is one model's folder, no repository", fix)]
    models, unread = _read(path)
    others = {name: model for other in beside for name, model in _read(other)[0].items()}
    read = [model for name, model in models.items() if name not in {finding.path.parts[0] for finding in unread}]
    findings = [*unread, *(finding for model in read for finding in _check(model, others | models))]
    if not models:
        findings.append(Finding("error", PurePosixPath(), "the repository is empty", "add a folder for each model"))
    return sorted(findings, key=lambda finding: (finding.path, finding.line or 0))


def _read(path: Path) -> tuple[dict[str, ModelFolder], list[Finding]]:
    if not path.is_dir():
        raise UsageError(f"{path}: there is no such folder; name a Triton model repository")
    models: dict[str, ModelFolder] = {}
    unread: list[Finding] = []
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            models[entry.name], problems = read_folder(path, entry.name)
            unread += problems
    return models, unread


def _check(model: ModelFolder, models: Mapping[str, ModelFolder]) -> Iterator[Finding]:
    if not model.is_model:
        yield Finding(
            "warning",
            model.file(),
            "holds neither config.pbtxt nor a version folder, so it is no model",
            "complete it, or move it out of the repository",
        )
        return
    yield from check_general(model)
    if model.backend == "vllm":
        yield from check_vllm(model)
    elif model.backend == "python":
        yield from check_python(model)
    elif model.backend == "ensemble":
        yield from check_ensemble(model, models)
