"""How long loading published weights takes, and how much memory: writes vitlib/zoo/loading.json.

    python book/studies loading               # --dry loads a ViT-Ti alone

Files of the published sizes are written with random weights to a temporary folder (a ViT-L needs 1.2 GB there). Each is
loaded three times in a process of its own, the first time not counted; the file then lies in the system's cache, so the
figures hold the work and not the disk. Memory (on Linux) is the growth of the process's resident set to its peak, after
the model has answered one image too: what is mapped from a file takes no memory before it is read.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import timm
from safetensors.torch import save_file

from vitlib.checkpoint import ZOO, environment, save_record

MODELS = ("deit_tiny_patch16_224", "vit_base_patch16_224", "vit_large_patch16_224")
LOAD = """
import resource, sys, time
import torch
import timm
from vitlib.published import load_published
from vitlib.hub import facts_of
facts_of("deit_tiny_patch16_224")  # timm itself is loaded, and counted to what was there before
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
start = time.perf_counter()
model = load_published(sys.argv[1])
print(time.perf_counter() - start)
with torch.inference_mode():
    model(torch.randn(1, 3, model.config.image_size, model.config.image_size))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(1024 * peak - before, 1024 * peak)
"""


def measure(name: str, folder: Path, repeats: int) -> dict:
    """Seconds, peak growth and whole memory of loading one model, medians of `repeats` processes."""
    path = folder / f"{name}.safetensors"
    save_file(timm.create_model(name).state_dict(), path)
    runs = []
    for _ in range(1 + repeats):
        done = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True)
        runs.append([float(number) for number in done.stdout.split()])
    size = path.stat().st_size
    path.unlink()
    seconds, grown, whole = (median(column) for column in zip(*runs[1:]))
    return {"bytes": size, "seconds": round(seconds, 3), "peak growth over the file": round(grown / size, 3),
            "whole process, bytes": int(whole)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="a ViT-Ti alone, nothing written")
    dry = parser.parse_args().dry
    with TemporaryDirectory() as folder:
        models = {name: measure(name, Path(folder), 1 if dry else 3) for name in MODELS[:1 if dry else None]}
    record = {"about": "python book/studies loading", **environment(), "models": models}
    print(json.dumps(models, indent=1))
    if not dry:
        save_record(ZOO / "loading.json", record)
