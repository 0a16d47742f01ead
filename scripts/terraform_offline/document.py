"""Keep the tables of inputs and outputs in deploy/terraform/README.md true to the code.

usage: document.py [--check]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TERRAFORM = Path(__file__).resolve().parents[2] / "deploy" / "terraform"
STACKS = ("infrastructure", "platform", "fleet")
BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', re.M | re.S)


def default_of(body: str) -> str:
    """The default as one short cell; a long one is named by its shape."""
    found = re.search(r"^  default += (.*?)(?=^  \w|^$|\Z)", body, re.M | re.S)
    if not found:
        return "required"
    text = " ".join(found[1].split())
    return f"`{text}`" if len(text) <= 60 else "see the file"


def table(kind: str, text: str) -> list[str]:
    head = (
        "| input | default | what |\n| --- | --- | --- |" if kind == "variable" else "| output | what |\n| --- | --- |"
    )
    rows = []
    for found, name, body in BLOCK.findall(text):
        if found != kind:
            continue
        what = re.search(r'description = "(.*)"', body)
        cells = [f"`{name}`", *([default_of(body)] if kind == "variable" else []), what[1] if what else ""]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [head, *rows]


def section(stack: str) -> str:
    folder = TERRAFORM / "stacks" / stack
    inputs = table("variable", (folder / "variables.tf").read_text())
    outputs = table("output", (folder / "outputs.tf").read_text())
    return "\n".join([*inputs, "", *outputs])


def fill(readme: str) -> str:
    """The README with every marked section written anew."""
    for stack in STACKS:
        begin, end = f"<!-- {stack}: written by scripts/terraform_offline/document.py -->", f"<!-- end {stack} -->"
        before, rest = readme.split(begin)
        readme = f"{before}{begin}\n{section(stack)}\n{end}{rest.split(end)[1]}"
    return readme


def main() -> None:
    path = TERRAFORM / "README.md"
    old = path.read_text()
    new = fill(old)
    if "--check" in sys.argv[1:]:
        if new != old:
            raise SystemExit(f"{path} is not true to the code: run {Path(__file__).name}")
        return
    path.write_text(new)


if __name__ == "__main__":
    main()
