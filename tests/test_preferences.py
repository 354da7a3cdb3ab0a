"""What a person sets under File > Preferences, read back, and what is made of nonsense."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from napari.components import ViewerModel
from napari.settings import get_plugin_settings
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest

from napari_equipose.widgets import DetectWidget, _preferences, _worker
from napari_equipose.widgets._forms import Choice
from napari_equipose.widgets._preferences import Preferences, read_preferences
from napari_equipose.widgets._train_settings import device_choice
from napari_equipose.widgets._worker import Job


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr(_preferences, "_said", set())
    notification_manager.records.clear()
    return tmp_path


def settings() -> Any:
    return get_plugin_settings("napari-equipose").jobs


def messages() -> list[str]:
    return [record.message for record in notification_manager.records]


def write(home: Path, text: str) -> None:
    path = home / "napari" / "napari-equipose.yaml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")


def test_the_page_offers_every_preference_with_its_default() -> None:
    manifest = PluginManifest.from_distribution("napari-equipose")
    page = manifest.contributions.configurations["jobs"].properties
    assert {
        name: Path(page[name].default) if name == "run_folder" else page[name].default
        for name in page
    } == {field.name: field.default for field in fields(Preferences)}


def test_nothing_set_is_the_default(home) -> None:
    assert read_preferences() == Preferences(run_folder=home / "equipose")
    assert messages() == []


def test_what_is_set_is_read_at_once_and_again_in_the_next_session(home) -> None:
    settings().update({"threads": 3, "own_process": False, "autosave": False, "device": "cpu"})
    settings().run_folder = str(home / "runs")
    wanted = Preferences(
        device="cpu", run_folder=home / "runs", threads=3, own_process=False, autosave=False
    )
    assert read_preferences() == wanted
    from napari.settings import _PLUGIN_SETTINGS

    _PLUGIN_SETTINGS.clear()
    assert read_preferences() == wanted
    assert messages() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jobs: {device: gpu, threads: 2}", "device 'gpu' can't be used"),
        ("jobs: {device: cpu, threads: -1}", "threads -1 can't be used"),
        ("jobs: {own_process: perhaps}", "own process 'perhaps' can't be used"),
        ("jobs: {run_folder: runs}", "run folder 'runs'"),
        ("jobs: {run_folder: ''}", "run folder"),
        ("- no\n- mapping", "can't read"),
    ],
)
def test_nonsense_is_said_once_and_the_default_used(home, text, words) -> None:
    write(home, text)
    found = read_preferences()
    assert found == read_preferences()
    assert len(messages()) == 1
    assert words in messages()[0]
    assert "File > Preferences" in messages()[0]
    assert found.run_folder == home / "equipose"
    assert (found.device, found.threads) in [("auto", 2), ("cpu", 0), ("auto", 0)]
    assert found.own_process


def test_a_run_folder_that_is_a_file_is_refused(home) -> None:
    (home / "mine").write_text("text")
    settings().run_folder = str(home / "mine")
    assert read_preferences().run_folder == home / "equipose"
    assert "mine" in messages()[0]


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_gives_way_to_automatic(device, monkeypatch, qtbot) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    settings().device = device
    assert read_preferences().device == "auto"
    choice = device_choice("equipose.test.device")
    qtbot.addWidget(choice)
    assert choice.value == "auto"
    assert len(messages()) == 1 and device in messages()[0]


@pytest.mark.parametrize(("device", "chosen"), [("cpu", "cpu"), ("cuda", "cuda:0")])
def test_forms_begin_with_the_default_device(device, chosen, monkeypatch, qtbot) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a card")
    settings().device = device
    choice: Choice = device_choice("equipose.test.device")
    qtbot.addWidget(choice)
    assert choice.value == chosen


@pytest.mark.parametrize(("preferred", "used"), [(0, 1), (2, 2)])
def test_jobs_take_as_many_threads_as_preferred(preferred, used, monkeypatch, qtbot) -> None:
    monkeypatch.setattr(_worker, "usual_threads", lambda: 2)
    settings().threads = preferred

    def work() -> Any:
        yield torch.get_num_threads()

    job, seen = Job("Counting", work()), list[int]()
    job.reported.connect(seen.append)
    with qtbot.waitSignal(job.ended):
        job.start()
    assert seen == [used]


@pytest.mark.parametrize("autosave", [True, False])
def test_tables_are_kept_in_the_run_folder_where_preferred(home, autosave, qtbot) -> None:
    settings().update({"autosave": autosave, "run_folder": str(home / "runs")})
    panel, kept = DetectWidget(ViewerModel()), list[Path]()
    qtbot.addWidget(panel)

    class Layers:
        keep = kept.append

    panel._keep(Layers())
    assert kept == ([home / "runs" / "found"] if autosave else [])
    panel.detach()


def test_a_table_that_can_t_be_kept_is_said(home, qtbot) -> None:
    (home / "found").write_text("in the way")
    settings().run_folder = str(home)
    panel = DetectWidget(ViewerModel())
    qtbot.addWidget(panel)

    class Layers:
        def keep(self, folder: Path) -> None:
            folder.mkdir(exist_ok=True)

    panel._keep(Layers())
    assert len(messages()) == 1 and "found" in messages()[0]
    panel.detach()
