"""What the manual states of limits, defaults and commands, held against the code."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from napari_equipose.cli import app
from napari_equipose.geometry import InputError
from napari_equipose.io import read_image
from napari_equipose.training import TrainingRun, prepare_images

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose head begins with a word or two."""
    text = (ROOT / "docs" / page).read_text()
    table = text[text.index(f"| {first} |") :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def is_taken(kind: str, size: int, preset: str = "fast") -> bool:
    """Whether any stack of boxes of a side can be learned from."""

    def configures(dimensions: int) -> bool:
        try:
            TrainingRun(model=kind, preset=preset).configurations(
                dimensions=dimensions,
                box_size=size,
                channels=1,
                n_images=500,
                likelihood="gaussian",
            )
        except InputError:
            return False
        return True

    return configures(2) or configures(3)


@pytest.mark.parametrize("row", rows("models.md", "kind | smallest box"), ids=lambda row: row[0])
def test_the_boxes_and_presets_of_each_kind_are_those_of_the_manual(row: list[str]) -> None:
    kind, least, most, presets = row[0].strip("`"), int(row[1]), row[2], row[3].split(", ")
    assert is_taken(kind, least) and not is_taken(kind, least - 1)
    if most == "any":
        assert is_taken(kind, 500)
    else:
        assert is_taken(kind, int(most)) and not is_taken(kind, int(most) + 1)
    offered = [name for name in ("fast", "balanced", "paper") if is_taken(kind, 64, name)]
    assert offered == presets


def test_all_kinds_have_a_row() -> None:
    kinds = [row[0].strip("`") for row in rows("models.md", "kind | smallest box")]
    more = [
        name.strip("` ")
        for row in rows("models.md", "kind | learns from")
        for name in row[0].split(",")
    ]
    assert kinds == more


def test_a_model_of_large_images_has_boxes_a_quarter_larger() -> None:
    image = read_image(ROOT / "sample_data" / "ecoli_phase_contrast.tif").data
    prepared = prepare_images(TrainingRun(box_size=32), [image])
    assert prepared.model_config.box_size == 40
    assert (
        "`--box-size 32` makes a model of 40-pixel boxes" in (ROOT / "docs/models.md").read_text()
    )


def test_ranges_ask_harmony_for_scale_and_contrast() -> None:
    given = dict(re.findall(r"(\w+_range)=([\d.]+)", (ROOT / "docs" / "models.md").read_text()))
    assert set(given) == {"scale_range", "contrast_range", "brightness_range"}
    run = TrainingRun(model="harmony", settings=given)
    config, training = run.configurations(
        dimensions=2, box_size=32, channels=1, n_images=500, likelihood="gaussian"
    )
    assert config.infers == {"rotation", "translation", "scale", "contrast"}
    assert training.structures == 0


def test_defaults_of_preferences_are_those_of_the_manual() -> None:
    manifest = yaml.safe_load((ROOT / "napari.yaml").read_text())
    (section,) = manifest["contributions"]["configurations"].values()
    known = {}
    for one in section["properties"].values():
        value = one["default"]
        word = ("off", "on")[value] if isinstance(value, bool) else str(value)
        known[one["title"].partition(" (")[0]] = word
    told = {row[0]: row[1].strip("`*") for row in rows("preferences.md", "preference | default")}
    assert told == known


def commands() -> list[tuple[str, str]]:
    """Each command in the pages, on one line."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("equipose "):
                    found.append((page.name, line.partition("  #")[0].strip()))
        spans = re.findall(r"`(equipose [^`]+)`", page.read_text())
        found += [(page.name, " ".join(span.split())) for span in spans]
    return found


def test_every_command_in_the_manual_has_its_options() -> None:
    assert len(commands()) > 25
    for page, line in commands():
        _, name, *words = shlex.split(line.replace("[", "").replace("]", ""))
        command = COMMANDS[name]
        if hasattr(command, "commands"):
            command = command.commands[words[0]]
        options = {name for parameter in command.params for name in parameter.opts}
        options |= {name for parameter in command.params for name in parameter.secondary_opts}
        for word in words:
            if word.startswith("-") and not re.fullmatch(r"-\d+", word):
                assert word in options | {"--help"}, (page, line, word)


def test_the_tolerance_of_evaluate_is_that_of_the_manual() -> None:
    (option,) = (one for one in COMMANDS["evaluate"].params if "--tolerance" in one.opts)
    told = re.findall(r"--tolerance (\d+)", (ROOT / "docs" / "evaluate.md").read_text())
    assert told == [f"{option.default:g}"]
