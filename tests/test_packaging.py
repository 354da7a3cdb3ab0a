import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import napari_equipose

ROOT = Path(__file__).parents[1]


def test_all_but_the_widgets_work_without_napari_and_qt() -> None:
    rooms = ("geometry", "models", "simulation", "training", "inference", "io", "evaluation", "cli")
    script = "import importlib, sys\n"
    for absent in ("napari", "qtpy", "PyQt6", "PySide6", "superqt", "magicgui", "pyqtgraph"):
        script += f"sys.modules[{absent!r}] = None\n"
    for room in rooms:
        script += f"importlib.import_module('napari_equipose.{room}')\n"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_base_install_brings_neither_napari_nor_a_qt_binding() -> None:
    base = [name for name in requires("napari-equipose") or [] if "extra ==" not in name]
    assert base
    assert not [name for name in base if re.match(r"(?i)napari|pyqt\d|pyside", name)]


def test_citation_is_of_this_version() -> None:
    assert f"version: {napari_equipose.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_manifest_at_the_top_is_the_packages_own() -> None:
    package = Path(napari_equipose.__file__).parent
    assert (ROOT / "napari.yaml").read_text() == (package / "napari.yaml").read_text()
