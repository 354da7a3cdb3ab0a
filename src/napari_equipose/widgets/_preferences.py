"""What a person has set once for all panels, in napari under File > Preferences > Equipose."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from napari.settings import get_plugin_settings
from napari.utils.notifications import show_warning

_PLUGIN, _SECTION = "napari-equipose", "jobs"
_said: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Choices that hold for all jobs; the page itself is described in the manifest."""

    device: str = "auto"
    """Where panels compute unless told otherwise: auto, cpu, cuda, mps."""
    run_folder: Path = Path("~/equipose")
    """Where files go when no other place is given; a full path where it was read."""
    threads: int = 0
    """Threads of the processor for a job; 0 is all but one, which the viewer keeps."""
    own_process: bool = True
    """Whether training runs in a process of its own."""
    autosave: bool = True
    """Whether tables of what Detect finds are written to the run folder by themselves."""


def read_preferences() -> Preferences:
    """Read what is set now.

    What can't be used is replaced by its default, and said in one notification, once.
    """
    values, complaints = _read()
    folder = Path(str(values["run_folder"]).strip()).expanduser()
    if not folder.is_absolute() or (folder.exists() and not folder.is_dir()):
        complaints.append(f"run folder {str(folder)!r} is no folder with a full path")
        folder = Preferences.run_folder.expanduser()
    values["run_folder"] = folder
    if not _is_there(values["device"]):
        complaints.append(f"device {values['device']!r} is not on this computer")
        values["device"] = Preferences.device
    _complain(complaints)
    return Preferences(**values)


def _read() -> tuple[dict[str, Any], list[str]]:
    """Values by name as napari has them, and what it did not take from its file."""
    defaults = asdict(Preferences())
    try:
        settings = get_plugin_settings(_PLUGIN)
    except Exception as error:  # a file that is damaged, a plugin that is switched off
        return defaults, [f"napari can't read them ({type(error).__name__})"]
    values = {name: getattr(getattr(settings, _SECTION), name) for name in defaults}
    refused: list[str] = []
    try:
        written = yaml.safe_load(Path(settings.config_path).read_text(encoding="utf-8"))
        refused = [
            f"{name.replace('_', ' ')} {value!r} can't be used"
            for name, value in written[_SECTION].items()
            if name in values and str(values[name]) != str(value)
        ]
    except (OSError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        pass  # nothing was written, or nothing that can be read
    return values, refused


def _is_there(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_available()
    return device != "mps" or torch.backends.mps.is_available()


def _complain(complaints: list[str]) -> None:
    message = "; ".join(complaints)
    if message and message not in _said:
        _said.add(message)
        show_warning(
            f"Preferences of Equipose: {message}. The default is used instead; "
            "change it under File > Preferences > Equipose."
        )
