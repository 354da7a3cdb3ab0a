"""The two small libraries of the fake accelerator, built with the compiler of the system."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).parent
_OPTIONS = ["-O0", "-std=c++20", "-shared", "-fPIC"]


class CannotBuildError(Exception):
    """Why there is no fake accelerator here."""


def torch_folder() -> Path:
    """Folder of the installed torch, which is not imported."""
    spec = find_spec("torch")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def libraries() -> tuple[Path, Path]:
    """Build ``first`` and ``guard`` unless they are there already, for this torch.

    Raises
    ------
    CannotBuildError
        If this is no Linux, or there is no compiler, or it fails.
    """
    if sys.platform != "linux":
        raise CannotBuildError("the fake accelerator replaces a symbol of torch, as Linux allows")
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if compiler is None:
        raise CannotBuildError("there is no C++ compiler (c++, g++, clang++ or $CXX) to build with")
    sources = [_HERE / "first.cpp", _HERE / "guard.cpp"]
    key = hashlib.sha256(version("torch").encode())
    for source in sources:
        key.update(source.read_bytes())
    folder = _writable() / f"accelerator-{key.hexdigest()[:12]}"
    built = folder / "first.so", folder / "guard.so"
    if all(library.is_file() for library in built):
        return built
    torch = torch_folder()
    include = ["-I", str(torch / "include")]
    link = [*include, "-L", str(torch / "lib"), "-lc10", "-ltorch_cpu"]
    folder.mkdir(parents=True, exist_ok=True)
    for source, library, more in zip(sources, built, ([], link), strict=True):
        unfinished = library.with_suffix(f".{os.getpid()}")
        command = [*compiler.split(), *_OPTIONS, str(source), "-o", str(unfinished), *more]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise CannotBuildError(f"{compiler} fails on {source.name}: {done.stderr[-500:]}")
        unfinished.replace(library)
    return built


def _writable() -> Path:
    """Folder beside this file for what can be built again, or a new one for this process."""
    folder = _HERE / "__pycache__"
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="accelerator-"))
