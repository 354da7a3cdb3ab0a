"""What a command will write: looked at before the work, so that none of it is lost or in vain."""

import os
import stat
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..geometry import InputError


class Output(NamedTuple):
    """A file that a command will write."""

    option: str
    """How it was asked for, such as ``-o``; said in refusals."""
    path: Path
    suffixes: Sequence[str] = ()
    """One of these its name must end in; none where the command chooses the name."""


def check_outputs(outputs: Sequence[Output], inputs: Iterable[Path] = ()) -> None:
    """Refuse outputs that can't be written, or that would replace an input or one another.

    Files are told apart by where they really are, through links, and not by their names.

    Parameters
    ----------
    outputs : sequence of Output
        All that the command will write, also files whose names follow from others.
    inputs : iterable of Path
        All that the command reads, also what a STAR file names.

    Raises
    ------
    InputError
    """
    folders = set[Path]()
    for output in outputs:
        _check_name(output)
        _check_place(output, folders)
    _check_distinct(outputs, list(inputs))


def check_new_model(model: Path, *, resume: bool, overwrite: bool, resumable: bool = True) -> None:
    """Refuse to replace a model, or a run that can go on, that nobody said to replace.

    Parameters
    ----------
    model : Path
        The model file to be.
    resume, overwrite : bool
        What was asked for.
    resumable : bool
        Whether the command has --resume.

    Raises
    ------
    InputError
    """
    from ..training import RunFolder, unfinished_run

    if resume and overwrite:
        raise InputError("--resume goes on and --overwrite begins anew; give one of them.")
    if overwrite:
        return
    folder = RunFolder.of(model)
    run = unfinished_run(folder)
    can_resume = run is not None and run.can_resume
    goes_on = run is not None and run.goes_on
    if resume:
        if run is None and model.exists() and folder.state.state == "done":
            raise InputError(
                f"{model}: its training is done, there is nothing to resume; --overwrite in place "
                "of --resume trains it anew."
            )
        return
    if goes_on or not (model.exists() or can_resume):  # who trains now is refused later
        return
    ways = ["name another with -o", "add --overwrite to replace it"]
    if resumable and can_resume:
        ways.insert(0, "add --resume to go on with its training")
    what = f"{model} exists" if model.exists() else f"{folder.path} holds a run that was stopped"
    raise InputError(f"{what}: {', '.join(ways[:-1])}, or {ways[-1]}.")


def _check_name(output: Output) -> None:
    option, path, suffixes = output
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{option} {path}: the name must end in {' or '.join(suffixes)}.")
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; name the file to write in it.")


def _check_place(output: Output, writable: set[Path]) -> None:
    """Refuse where no file can be made, and files that may not be changed."""
    option, path, _ = output
    target = Path(os.path.realpath(path))
    if target.exists() and not target.stat().st_mode & _WRITABLE:
        raise InputError(f"{option} {path} is read-only; name another file.")
    folder = next(parent for parent in target.parents if parent.exists())
    if folder in writable:
        return
    if not folder.is_dir():
        raise InputError(f"{option} {path} can't be written: {folder} is a file, not a folder.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            writable.add(folder)
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"{option} {path} can't be written in {folder}: {why}.") from error


_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def _check_distinct(outputs: Sequence[Output], inputs: Sequence[Path]) -> None:
    read = {_identity(path): path for path in inputs}
    folders = [Path(os.path.realpath(path)) for path in inputs if path.is_dir()]  # such as .zarr
    written: dict[object, Output] = {}
    for output in outputs:
        option, path, _ = output
        known = _identity(path)
        if known in read:
            same = "" if path == read[known] else f", which is the same file as {read[known]}"
            raise InputError(
                f"{option} {path} would replace an input{same}; name another file to write."
            )
        inside = [folder for folder in folders if folder in Path(os.path.realpath(path)).parents]
        if inside:
            raise InputError(f"{option} {path} would be written into the input {inside[0]}.")
        before = written.setdefault(known, output)
        if before is not output:
            raise InputError(
                f"{before.option} {before.path} and {option} {path} are one file, which can't "
                "hold both; name two files."
            )


def _identity(path: Path) -> object:
    """Tell a file from others by more than its name, also one that is not there yet."""
    real = os.path.realpath(path)
    try:
        found = os.stat(real)
    except OSError:
        return os.path.normcase(real)
    return found.st_dev, found.st_ino
