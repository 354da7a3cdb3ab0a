"""How often the host waits for a GPU, counted on the fake accelerator of the tests; no GPU needed.

    python benchmarks/device_waits.py MODEL.safetensors IMAGE

Prints Markdown tables: of `detect`, with the lines that wait, and of a training step of each model.
"""

import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from accelerator.fake import FakeAccelerator  # isort: split

import tifffile
from accelerator.cases import cases
from accelerator.steps import _told

from napari_equipose.inference import detect, finish
from napari_equipose.models import load_model

_LINES = 12


def main(model: Path, image: Path) -> None:
    """Count, and print the tables."""
    pixels = tifffile.imread(image)
    began = time.process_time()
    expected = finish(detect(load_model(model), pixels, device="cpu"))
    seconds = time.process_time() - began
    with FakeAccelerator() as device:
        found = finish(detect(load_model(model), pixels, device="cuda"))
    apart = float("nan")
    if len(found.score) == len(expected.score):
        apart = float(abs(found.positions - expected.positions).max())
    print(f"detect: {len(found.score)} objects ({len(expected.score)} on the CPU, {apart:.1e} px")
    print(f"apart, {seconds:.1f} s of processor time there)\n")
    print("| | operations | waits |\n|---|---|---|")
    print(f"| detect | {device.launches.total()} | {device.waits.total()} |\n")
    lines = Counter[str]()
    for (where, what), n in device.waits.items():
        lines[f"{where} | {what}"] += n
    print("| line | what | waits |\n|---|---|---|")
    for line, n in lines.most_common(_LINES):
        print(f"| {line} | {n} |")
    print("\n| training step | operations | waits |\n|---|---|---|")
    for name, case in cases().items():
        told = _told(case)
        print(f"| {name} | {told['launches']} | {told['waits']} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
