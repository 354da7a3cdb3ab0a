"""The driver of the papers' tables: that its tables can be run, and what its pages say."""

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import papers
from _papers_data import DATA_SETS
from _papers_tables import COLUMNS, TABLES
from _papers_write import write_page

from napari_equipose.models import model_kinds

MACHINE = {"gpu": None, "cores": 2, "processor": "a processor", "load": 0.1, "torch": "2"}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_can_be_run(name: str) -> None:
    table = TABLES[name]
    assert set(table.measures) <= set(COLUMNS)
    assert set(table.data) <= set(DATA_SETS)
    for system in table.systems.values():
        assert system.kind in model_kinds()
        assert set(system.paper) <= set(table.data)
        for data in table.data:
            chosen = argparse.Namespace(preset="fast", budget=1.0, steps=250, seed=3, device="cpu")
            run = papers.training_run(system, data, chosen, Path("model.safetensors"))
            assert (run.model, run.minutes, run.seed) == (system.kind, 1.0, 3)
            assert run.settings["steps_per_epoch"] * run.settings["epochs"] == 300


def row(**measures: float) -> dict[str, Any]:
    return {
        **{"data": "hinge", "system": "spatial-VAE", "preset": "fast", "seed": 0, "steps": 2},
        **{"minutes": 1.0, "command": "python x", "date": "2026-11-23", "machine": MACHINE},
        "measures": measures,
    }


def test_a_page_says_where_a_row_falls_short() -> None:
    table = TABLES["spatial-vae-1"]
    short = write_page(table, [row(conformation=0.9, circular_correlation=0.93)])
    assert "**falls short of the paper** in conformation, correlation by 0.050." in short
    assert "| spatial-VAE, ours | 0.900 | 0.930 |" in short
    assert "2 cores of a processor" in short
    assert "`python x`" in short
    good = write_page(table, [row(conformation=0.96, circular_correlation=0.93)])
    assert "nowhere short" in good


def test_a_row_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    papers.add_row(tmp_path, "spatial-vae-1", row(conformation=0.1))
    papers.add_row(tmp_path, "spatial-vae-1", {**row(conformation=0.2), "system": "VAE, 1-d"})
    papers.add_row(tmp_path, "spatial-vae-1", row(conformation=0.3))
    page = (tmp_path / "spatial-vae-1.md").read_text()
    assert "0.300" in page
    assert "0.200" in page
    assert "0.100" not in page
