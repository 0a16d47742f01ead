"""Compare the GPU part of the metrics page with nvidia-smi, on a machine with GPUs.

    PYTHONPATH=src:FOLDER_WITH_pynvml python scripts/gpu/nvml_page.py

Exits with 1 where a value that does not move (total of memory, name, number) differs.
"""

from __future__ import annotations

import subprocess
import sys
import time

from tritonfleet.metrics.gpu import GpuReader, gpu_text

_ASKED = "index,uuid,name,memory.used,memory.free,memory.reserved,power.draw,utilization.gpu,temperature.gpu,clocks.sm"


def main() -> int:
    """Print both, and how long a reading takes."""
    reader = GpuReader()
    reader.read()
    started = time.perf_counter()
    readings = reader.read()
    took = time.perf_counter() - started
    print(gpu_text(readings, "demo", "host"))
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={_ASKED}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
    )
    print(done.stdout)
    print(f"reading {len(readings)} GPUs took {took * 1000:.1f} ms")
    same = True
    for reading, line in zip(readings, done.stdout.splitlines(), strict=True):
        index, uuid, name, used, free, reserved, *_ = line.split(", ")
        total = sum(reading.values[field] for field in ("FB_USED", "FB_FREE", "FB_RESERVED"))
        same &= (str(reading.index), reading.uuid, reading.name) == (index, uuid, name)
        same &= abs(total - int(used) - int(free) - int(reserved)) <= 2  # each is rounded to MiB
    print("the same" if same else "DIFFERENT")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
