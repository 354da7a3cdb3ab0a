"""Kill training and detection at random moments, fill the disk, take the right to write.

    python benchmarks/reliability/kill.py --tries 200 --json kill.json

Each try is a process of its own that this one, which has imported everything, forks; so it works
where there is fork: Linux and macOS. It trains a tiny network on one thread of the processor, or
finds objects over and over and writes the table. Then, in each kind of try:

- training on boxes, on an image: ``kill -9`` at a random moment; every third resumed run is killed
  again;
- at a file operation: the process kills itself with signal 9 at a random one of the times it
  opens, renames or removes a file of the run, so that writing models and checkpoints is hit;
- detection: ``kill -9`` at a random moment;
- disk full: the disk, a small one in memory, is filled at a random moment (needs the right to
  mount; else files may not grow, at a random moment, beyond some bytes);
- read-only: the folder is made so at a random moment.

After each: the model loads, or no epoch had ended and there is none; the run is listed as one that
can be resumed; it is resumed, ends, and its model is the same to the bit as that of a run nobody
disturbed; and no temporary file is left. After detection: the table is whole, old or new.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a process with more threads can't be forked safely

import numpy as np
import tifffile
import torch._dynamo  # noqa: F401 - at the first step else, where some tries may not read it
from _session import print_table, write_report

from napari_equipose.inference import DetectionConfig, detect, finish
from napari_equipose.io import pick_table, read_image, read_table, write_table
from napari_equipose.models import load_model
from napari_equipose.training import (
    RunFolder,
    TrainingRun,
    checkpoint_path,
    create_run,
    explain,
    train_run,
    unfinished_runs,
)

EPOCHS = 6
NETWORK = {
    **{"fields": 4, "n_rotations": 4, "generator_width": 8, "n_features": 8},
    **{"steps_per_epoch": 2, "batch_size": 8, "validation_images": 8},
}
SAMPLE = Path(__file__).resolve().parents[2] / "sample_data" / "ecoli_phase_contrast.tif"
NOBODY = 65534


class Kind:
    """A kind of run, with what comes of it when nobody disturbs it."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name, self.options = name, options
        self.digest, self.seconds, self.operations = "", 0.0, 0

    def create(self, folder: Path) -> RunFolder:
        """Make the folder of such a run."""
        run = TrainingRun(epochs=EPOCHS, device="cpu", threads=1, settings=NETWORK, **self.options)
        return create_run(folder / "m.safetensors", run)


def child(work: Callable[[], Any], prepare: Callable[[], None] = lambda: None) -> tuple[int, int]:
    """Fork a process that works; return its id and where its result, JSON, can be read."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    code = 1
    try:
        os.close(reading)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        prepare()
        try:
            result = {"result": work()}
        except BaseException as error:
            result = {"error": explain(error).message}
        os.write(writing, json.dumps(result).encode())
        code = 0
    finally:
        os._exit(code)


def ended(pid: int, reading: int) -> dict[str, Any]:
    """Wait for a process; return what it said, or the signal that ended it."""
    said = b""
    while more := os.read(reading, 65536):
        said += more
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return dict(json.loads(said)) if said else {"error": f"exit code {status}"}


def trained(folder: RunFolder, resume: bool) -> str:
    """Train to the end, return the digest of the model."""
    return finish(train_run(folder.path, resume=resume)).digest


def count_operations(place: Path, kill_at: int | None) -> list[int]:
    """Count operations on files below a folder; end this process at one of them."""
    count = [0]
    text = str(place)

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.chmod") and text in str(given[0]):
            if count[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            count[0] += 1

    sys.addaudithook(hook)
    return count


def crop() -> Any:
    """A part of the sample image, to be quick."""
    return np.asarray(read_image(SAMPLE).data)[:160, :160]


def learn_usual(kind: Kind) -> None:
    """Note what an undisturbed run of a kind makes, and how long it takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = kind.create(Path(name))

        def work() -> tuple[str, float, int]:
            count, began = count_operations(Path(name), None), time.monotonic()
            return trained(folder, False), time.monotonic() - began, count[0]

        said = ended(*child(work))
        kind.digest, kind.seconds, kind.operations = said["result"]


def judge(kind: Kind, folder: RunFolder, note: Counter[str]) -> bool:
    """Look at what a disturbed run left; say whether there is something to resume."""
    if folder.model.exists():
        try:
            load_model(folder.model)
            note["model loads"] += 1
        except Exception as error:
            note["WRONG: model does not load"] += 1
            print(f"{kind.name}: {error}", file=sys.stderr)
    elif checkpoint_path(folder.model).exists():
        note["WRONG: model is gone"] += 1
    elif (folder.path / "round1.safetensors").exists():
        load_model(folder.path / "round1.safetensors")
        note["model loads"] += 1  # killed between writing it and copying it to its place
    else:
        note["no epoch had ended"] += 1
    if folder.state.state == "done":  # all was written
        note["had just ended"] += 1
        return False
    listed = [run for run in unfinished_runs(folder.path.parent) if run.can_resume]
    note["can be resumed" if len(listed) == 1 else "WRONG: not listed"] += 1
    return True


def finish_run(kind: Kind, folder: RunFolder, note: Counter[str], again: float | None) -> None:
    """Resume, be killed again perhaps, resume; compare, and look for what is left."""
    if again is not None:
        pid, reading = child(lambda: trained(folder, True))
        time.sleep(again)
        os.kill(pid, signal.SIGKILL)
        ended(pid, reading)
        note["killed again"] += 1
    said = ended(*child(lambda: trained(folder, True)))
    same = said.get("result") == kind.digest
    note["resumed, same model" if same else "WRONG: resumed to another end"] += 1
    if not same:
        print(f"{kind.name}: {said}", file=sys.stderr)
    left = list(folder.path.parent.rglob(".*"))
    note["WRONG: temporary files left"] += bool(left)
    if left:
        print(f"{kind.name}: left {left}", file=sys.stderr)


def kill_training(kind: Kind, rng: random.Random, note: Counter[str]) -> bool:
    """``kill -9`` at a random moment of a run."""
    with tempfile.TemporaryDirectory() as name:
        folder = kind.create(Path(name))
        pid, reading = child(lambda: trained(folder, False))
        time.sleep(rng.uniform(0, kind.seconds))
        os.kill(pid, signal.SIGKILL)
        if ended(pid, reading).get("signal") != signal.SIGKILL:  # it was done before: once more
            return False
        if judge(kind, folder, note):
            again = rng.uniform(0, kind.seconds) if rng.random() < 1 / 3 else None
            finish_run(kind, folder, note, again)
    return True


def kill_operation(kind: Kind, rng: random.Random, note: Counter[str]) -> bool:
    """End a run by signal 9 at one of its operations on files."""
    with tempfile.TemporaryDirectory() as name:
        folder, at = kind.create(Path(name)), rng.randrange(kind.operations)

        def work() -> str:
            count_operations(Path(name), at)
            return trained(folder, False)

        if ended(*child(work)).get("signal") != signal.SIGKILL:
            return False
        if judge(kind, folder, note):
            finish_run(kind, folder, note, None)
    return True


def kill_detection(rng: random.Random, note: Counter[str], model: Path) -> bool:
    """``kill -9`` at a random moment of finding objects and writing the table."""
    image = crop()

    def found() -> Any:
        picks = finish(
            detect(load_model(model), image, DetectionConfig(threshold=0.01), device="cpu")
        )
        return pick_table("image.tif", picks.positions, picks.rotation, picks.score)

    with tempfile.TemporaryDirectory() as name:
        table, digest = Path(name) / "objects.csv", load_model(model).digest

        def work() -> bool:
            result = found()
            for number in range(1, 10_000):
                write_table(table, result.head(1 + number % len(result)))
                if number % 50 == 0:
                    result = found()

        pid, reading = child(work)
        time.sleep(rng.uniform(0, 2))
        os.kill(pid, signal.SIGKILL)
        if ended(pid, reading).get("signal") != signal.SIGKILL:
            raise RuntimeError("detection ended by itself")
        assert load_model(model).digest == digest
        note["model loads"] += 1
        if table.exists():
            note["table is whole" if len(read_table(table)) else "WRONG: table"] += 1
        else:
            note["no table yet"] += 1
        said = ended(*child(lambda: write_table(table, found())))
        done = "error" not in said and len(read_table(table)) > 0
        note["done again" if done else "WRONG: not done again"] += 1
        if not done:
            print(f"detection: {said}", file=sys.stderr)
        note["temporary files left"] += bool(list(Path(name).glob(".*")))
    return True


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """Mount a small disk in memory, where that is allowed."""
    with tempfile.TemporaryDirectory() as name:
        command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", name]
        try:
            mounted = subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            mounted = False
        try:
            yield Path(name) if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", name], check=True)


def _refused(said: dict[str, Any], words: str, note: Counter[str]) -> bool:
    """Take note of how a run ended that could not write; say whether it was not done before."""
    if "result" in said:
        return False
    if words in said.get("error", ""):
        note["said why"] += 1
    else:
        note["WRONG: said something else"] += 1
        print(said, file=sys.stderr)
    return True


def fill_disk(kind: Kind, rng: random.Random, note: Counter[str]) -> bool:
    """Fill the disk at a random moment of a run; make room; resume."""
    with small_disk() as disk, tempfile.TemporaryDirectory() as elsewhere:
        folder = kind.create(disk or Path(elsewhere))
        if disk is None:
            most = rng.randrange(1, 200_000)
            limit = (most, resource.RLIM_INFINITY)
            pid, reading = child(
                lambda: trained(folder, False),
                lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
            )
            words = "large"
        else:
            pid, reading = child(lambda: trained(folder, False))
            time.sleep(rng.uniform(0, kind.seconds))
            with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            words = "No space left on device"
        disturbed = _refused(ended(pid, reading), words, note)
        unfinished = disturbed and judge(kind, folder, note)
        if disk is not None:
            (disk / "ballast").unlink()
        if unfinished:
            finish_run(kind, folder, note, None)
    return disturbed


def make_read_only(kind: Kind, rng: random.Random, note: Counter[str]) -> bool:
    """Take the right to write from a run at a random moment; give it back; resume."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "runs"
        place.mkdir()
        folder = kind.create(place)
        as_nobody = hasattr(os, "geteuid") and os.geteuid() == 0  # for root nothing is read-only
        if as_nobody:
            Path(name).chmod(0o755)
            for path in (place, *place.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

        def step_down() -> None:
            if as_nobody:
                os.setgid(NOBODY)
                os.setuid(NOBODY)

        pid, reading = child(lambda: trained(folder, False), step_down)
        time.sleep(rng.uniform(0, kind.seconds))
        for path in (place, folder.path):
            path.chmod(0o555)
        disturbed = _refused(ended(pid, reading), "Permission denied", note)
        unfinished = disturbed and judge(kind, folder, note)
        for path in (place, folder.path):
            path.chmod(0o755)
        if unfinished:
            finish_run(kind, folder, note, None)
    return disturbed


def _row(words: str, note: Counter[str]) -> dict[str, Any]:
    counts = {name: count for name, count in sorted(note.items()) if count and name != "tries"}
    wrong = sum(count for name, count in note.items() if name.startswith("WRONG"))
    return {"what": words, "tries": note["tries"], "wrong": wrong, "counts": counts}


def main() -> None:
    """Do all kinds of tries, and count how they ended."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tries", type=int, default=200, help="of kill -9, over all its kinds")
    parser.add_argument("--others", type=int, default=30, help="of disk full and of read-only each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    work = Path(tempfile.mkdtemp(prefix="equipose-kill-"))
    work.chmod(0o755)
    noise = np.random.default_rng(0).normal(size=(40, 24, 24)).astype(np.float32)
    np.save(work / "stack.npy", noise)
    tifffile.imwrite(work / "image.tif", crop())
    boxes = Kind("boxes", images=(str(work / "stack.npy"),))
    image = Kind("image", images=(str(work / "image.tif"),), box_size=24)
    for kind in (boxes, image):
        learn_usual(kind)
        print(f"{kind.name}: {kind.seconds:.1f} s, {kind.operations} operations on files")
    model = work / "known.safetensors"
    place = create_run(
        model, TrainingRun(images=image.options["images"], box_size=24, epochs=2, settings=NETWORK)
    )
    ended(*child(lambda: trained(place, False)))

    n, m = given.tries, given.others
    plan: list[tuple[str, int, Callable[[Counter[str]], bool]]] = [
        ("kill -9, training on boxes", n // 4, lambda x: kill_training(boxes, rng, x)),
        ("kill -9, training on an image", n // 4, lambda x: kill_training(image, rng, x)),
        ("kill -9 at file operations, boxes", n // 8, lambda x: kill_operation(boxes, rng, x)),
        ("kill -9 at file operations, image", n // 8, lambda x: kill_operation(image, rng, x)),
        ("kill -9, detection", n - 2 * (n // 4 + n // 8), lambda x: kill_detection(rng, x, model)),
        ("disk full, boxes", m // 2, lambda x: fill_disk(boxes, rng, x)),
        ("disk full, image", m - m // 2, lambda x: fill_disk(image, rng, x)),
        ("read-only, boxes", m // 2, lambda x: make_read_only(boxes, rng, x)),
        ("read-only, image", m - m // 2, lambda x: make_read_only(image, rng, x)),
    ]
    notes: list[Counter[str]] = [Counter() for _ in plan]
    order = [index for index, (_, tries, _) in enumerate(plan) for _ in range(tries)]
    rng.shuffle(order)  # so that one that is cut short tells of all kinds
    missed = 0
    for done, index in enumerate(order, 1):
        while not plan[index][2](notes[index]):
            missed += 1
            for kind in (boxes, image):  # the machine is quicker than it was
                kind.seconds = max(0.9 * kind.seconds, 1.0)
            if missed > 10 * len(order) + 10:
                raise RuntimeError("the runs end before anything happens to them")
        notes[index]["tries"] += 1
        if done % 10 == 0 or done == len(order):
            rows = [_row(words, note) for (words, _, _), note in zip(plan, notes, strict=True)]
            write_report(given.json, "kill", {"seed": given.seed, "rows": rows})
            print(f"{done} of {len(order)}", flush=True)
    for row in rows:
        print(f"{row['what']}: {row['counts']}")
    shutil.rmtree(work)
    killed = [row for row in rows if row["what"].startswith("kill")]
    print_table([{name: row[name] for name in ("what", "tries", "wrong")} for row in rows])
    print(
        f"killed: {sum(row['tries'] for row in killed)}, "
        f"of which wrong: {sum(row['wrong'] for row in killed)}"
    )
    sys.exit(any(row["wrong"] for row in rows))


if __name__ == "__main__":
    main()
