import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="module")
def what_is_there_is_not_collected() -> None:
    """Keep what libraries have made so far out of collections of garbage.

    napari's fixture has all of it looked through again and again, which takes a third of the time
    of a test with a viewer.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Work in one thread where boxes are so small that several would mostly wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def fresh_preferences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the plugin preferences of whoever runs the tests out of them, and unchanged.

    napari's own fixture for that would also hide all plugins that are installed.
    """
    if "napari" not in sys.modules:
        yield
        return
    from napari import settings

    settings._PLUGIN_SETTINGS.clear()
    monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path / "napari" / "settings.yaml"))
    yield
    settings._PLUGIN_SETTINGS.clear()


@pytest.fixture
def home(fresh_preferences: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what panels write out of the real home, and the shelf of models empty."""
    from napari.settings import get_plugin_settings
    from napari.utils.notifications import notification_manager

    from napari_equipose.widgets import _closed, _worker
    from napari_equipose.widgets._models import shelf

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "1")
    get_plugin_settings("napari-equipose").jobs.own_process = False  # a thread starts sooner
    monkeypatch.setattr(_worker, "PATIENCE", 60)  # a busy machine is no step that hangs
    monkeypatch.setattr(_closed, "ask_whether_to_close", lambda *_: True)  # nobody answers
    shelf.clear()
    notification_manager.records.clear()
    return tmp_path
