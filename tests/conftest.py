import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


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
