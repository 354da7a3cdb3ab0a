"""The field board: what its summary says of lines, and what it tells the product of the truth."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import field
from _field_images import FRESH, FieldImage, Truth, field_images, nonsense_images, polarity_of
from _field_summary import groups, image_rows, nonsense_rows, tier_rows, write_markdown

from napari_equipose.geometry import InputError


def line(image: str, seed: int, f1: float, **more: Any) -> dict[str, Any]:
    made = {"image": image, "seed": seed, "mode": "model", "tier": "main", "objects": 10, "f1": f1}
    return made | {"precision": f1, "recall": f1, "picks": 10, "commit": "abc"} | more


def oracle(image: str, f1: float, seed: int = 0, **more: Any) -> dict[str, Any]:
    made = {"image": image, "seed": seed, "mode": "candidates", "tier": "main", "objects": 10}
    made |= {"candidates_f1": 0.5, "commit": "abc"}
    return made | {"blob_log_f1": f1} | more


def tier(lines: list[dict[str, Any]], name: str = "main", group: str = "model") -> dict[str, Any]:
    return next(row for row in tier_rows(groups(lines)[group], lines) if row["tier"] == name)


def test_an_image_counts_by_its_median_over_seeds() -> None:
    lines = [line("a", seed, f1) for seed, f1 in enumerate((0.2, 0.9, 0.8))] + [line("b", 0, 0.6)]
    rows = image_rows(lines, lines)
    assert [row["image"] for row in rows] == ["a", "b"]
    assert rows[0]["F1"] == 0.8 and rows[0]["spread"] == pytest.approx(0.7)
    assert rows[1]["F1"] == 0.6 and rows[1]["spread"] is None
    assert tier(lines)["median F1"] == pytest.approx(0.7)
    assert tier(lines)["worst three"] == "b 0.60, a 0.80"


def test_each_fresh_image_counts_for_itself() -> None:
    lines = [line("m", seed, 0.1 * seed, tier="m", fresh=True) for seed in range(5)]
    assert tier(lines, "m")["images"] == 5
    assert tier(lines, "m")["worst three"] == "m/0 0.00, m/1 0.10, m/2 0.20"


def test_images_below_blob_log_are_counted_by_more_than_the_margin() -> None:
    lines = [line("a", 0, 0.80), line("b", 0, 0.80), line("c", 0, 0.80)]
    lines += [oracle("a", 0.84), oracle("b", 0.86)]
    assert tier(lines)["below blob_log"] == "1 of 2"
    fresh = {"fresh": True}
    lines = [line("m", 0, 0.8, **fresh), line("m", 1, 0.5, **fresh)]
    lines += [oracle("m", 0.5, 0, **fresh), oracle("m", 0.9, 1, **fresh)]
    assert tier(lines)["below blob_log"] == "1 of 2"


def test_wrong_polarities_are_counted_where_one_is_true() -> None:
    lines = [
        line("a", 0, 0.5, polarity="dark", true_polarity="dark"),
        line("b", 0, 0.5, polarity="dark", true_polarity="bright"),
        line("b", 1, 0.5, polarity="bright", true_polarity="bright"),
        line("c", 0, 0.5, polarity="dark", true_polarity=None),
    ]
    assert tier(lines)["wrong polarity"] == "1 of 2"
    assert [row["polarity"] for row in image_rows(lines, lines)] == [
        "dark",
        "dark/bright (wrong)",
        "dark",
    ]


def test_the_rate_of_false_picks_stands_beside_the_rate_that_was_set() -> None:
    lines = [line("a", 0, 0.5, precision=p, false_discovery_rate_set=0.1) for p in (0.95, 0.7, 0.6)]
    lines.append(line("b", 0, 0.5, precision=0.5))
    row = tier(lines)
    assert row["FDR set"] == pytest.approx(0.1)
    assert row["FDR realized"] == pytest.approx(0.35)
    assert row["within a factor of 2"] == "1 of 3"


def test_angles_worse_than_no_guess_are_counted() -> None:
    lines = [line("a", 0, 0.5, angle_deg=30.0, angle_no_guess_deg=20.0)]
    lines += [line("b", 0, 0.5, angle_deg=3.0, angle_no_guess_deg=20.0), line("c", 0, 0.5)]
    assert tier(lines)["worse than no guess"] == "1 of 2"


def test_a_refusal_counts_as_nothing_found() -> None:
    lines = [oracle("a", 0.9, candidates_error="nothing recurs"), oracle("b", 0.9)]
    del lines[0]["candidates_f1"]
    assert tier(lines, group="candidates")["worst three"] == "a 0.00, b 0.50"


def test_runs_with_examples_stand_apart(tmp_path: Path) -> None:
    lines = [line("a", 0, 0.5), line("a", 0, 0.9, examples=3), oracle("a", 0.95)]
    lines.append({"image": "noise", "seed": 0, "mode": "nonsense", "refused": True})
    lines[-1] |= {"said": "nothing recurs", "seconds": 0.1, "commit": "abc"}
    assert list(groups(lines)) == ["model", "model, 3 examples", "candidates"]
    assert [row["refused"] for row in nonsense_rows(lines)] == [True]
    write_markdown(tmp_path / "page.md", lines)
    page = (tmp_path / "page.md").read_text()
    for title in ("**model**", "**model, 3 examples**", "**candidates: tiers**", "**nonsense**"):
        assert title in page
    row = next(text for text in page.splitlines() if text.startswith("| a | 1 | 10 | 0.90 |"))
    assert row.endswith("| 0.95 |")
    table = page.split("**model**\n\n")[1].split("\n\n")[0].splitlines()
    assert len({text.count("|") for text in table}) == 1


def case(*n: int, ignored: int = 0) -> FieldImage:
    rng = np.random.default_rng(0)
    truths = [
        Truth(rng.uniform(0, 1000, (k, 2)), np.full(k, np.nan), np.arange(k) < ignored) for k in n
    ]
    return FieldImage([np.zeros((1000, 1000))] * len(n), truths, 50, 10.0, 1, "main")


@pytest.mark.parametrize("n", [1, 3, 5])
def test_examples_lie_near_true_objects_that_count(n: int) -> None:
    images = case(12, 9, 0, ignored=8)
    seen = set()
    for seed in range(20):
        examples = field.choose_examples(images, n, seed)
        assert len(examples) == 3 and examples[2] is None
        assert sum(len(each) for each in examples if each is not None) == n
        for number, (clicked, truth) in enumerate(zip(examples, images.truths, strict=True)):
            for place in clicked if clicked is not None else ():
                distance = np.linalg.norm(truth.positions - place, axis=1)
                assert distance.min() < 6 * field.CLICK * 50
                assert not truth.ignore[distance.argmin()]
                seen.add((number, int(distance.argmin())))
    assert len(seen) >= 4
    again = field.choose_examples(images, n, 7)
    np.testing.assert_equal(again, field.choose_examples(images, n, 7))


def test_examples_are_told_to_the_product_only_if_there_are_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = []

    def propose(images: Any, box_size: int, **options: Any) -> Any:
        told.append(options)
        raise InputError("nothing recurs")

    monkeypatch.setattr(field, "propose_many", propose)
    monkeypatch.setattr(field, "field_images", lambda data: {"a": lambda seed: case(12)})
    monkeypatch.setattr(field, "measure_peers", lambda *arguments: {})
    for n in (0, 2):
        made = field.measure(field.Task("a", 0, "candidates", n), Path(), None, {})
        assert made["candidates_error"] == "nothing recurs" and made["examples"] == n
    assert told[0] == {}
    np.testing.assert_equal(told[1]["examples"], field.choose_examples(case(12), 2, 0))


def test_peers_are_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [oracle("a", 0.7, box_size=50, objects=12, apple_f1=None, machine={})]
    (tmp_path / "lines.json").write_text(json.dumps({"lines": lines}))
    lines = field.read_lines(tmp_path / "lines.json")
    measured = []

    def measure_peers(*arguments: Any) -> dict[str, Any]:
        measured.append(arguments)
        return {"blob_log_f1": 0.1}

    monkeypatch.setattr(field, "measure_candidates", lambda *arguments: {"polarity": "dark"})
    monkeypatch.setattr(field, "measure_peers", measure_peers)
    for n, seed, f1 in ((12, 0, 0.7), (12, 1, 0.1), (11, 0, 0.1)):
        made = {"a": lambda seed, n=n: case(n)}
        monkeypatch.setattr(field, "field_images", lambda data, made=made: made)
        task = field.Task("a", seed, "candidates")
        peers = field.known_peers(task, lines)
        assert field.measure(task, Path(), None, peers)["blob_log_f1"] == f1
    assert len(measured) == 2


def test_all_objects_are_given_where_there_are_fewer_than_examples() -> None:
    (clicked,) = field.choose_examples(case(2), 5, 0)
    assert clicked is not None and len(clicked) == 2


def test_ignored_objects_are_neither_hits_nor_misses() -> None:
    judge = field.Judge(case(4, ignored=2))
    truth = judge.case.truths[0].positions
    assert judge.scores(truth)["f1"] == 1
    assert judge.scores(truth[2:])["f1"] == 1
    assert judge.scores(truth[:3]) == pytest.approx({"precision": 1, "recall": 0.5, "f1": 2 / 3})


def test_the_seeds_that_differ_are_measured() -> None:
    asked = argparse.Namespace(nonsense=False, candidates=True, quick=False, seeds=3, examples=0)
    asked.first_seed = 0
    names = ["coins", "micrograph_snr01"]
    assert [(t.image, t.seed) for t in field.tasks(asked, names)] == [
        *(("coins", 0), ("micrograph_snr01", 0)),
        *(("micrograph_snr01", 1), ("micrograph_snr01", 2)),
    ]
    asked.first_seed = 100
    assert [(t.image, t.seed) for t in field.tasks(asked, names)][-1] == ("micrograph_snr01", 102)
    asked.examples = 3
    assert len(field.tasks(asked, names)) == 6
    asked.candidates = False
    assert {task.mode for task in field.tasks(asked, names)} == {"model"}
    asked.nonsense = True
    assert {task.mode for task in field.tasks(asked, [*nonsense_images()])} == {"nonsense"}


@pytest.mark.parametrize(
    ("text", "polarity"),
    [
        ("bright on dark", "bright"),
        ("dark cells with bright halo", "dark"),
        ("bright on dark, mixed", None),
        ("texture only", None),
    ],
)
def test_polarity_is_read_from_the_description(text: str, polarity: str | None) -> None:
    assert polarity_of(text) == polarity


def test_micrographs_are_fresh_and_told_a_box_about_right(tmp_path: Path) -> None:
    (tmp_path / "field").mkdir()
    cases = field_images(tmp_path)
    assert set(FRESH) <= set(cases)
    made = [cases["micrograph_snr01"](seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(made[0].images[0], made[1].images[0])
    assert made[0].images[0].shape == made[2].images[0].shape == (1200, 1200)
    assert (made[0].images[0] != made[2].images[0]).any()
    for micrograph in made:
        assert micrograph.polarity == "dark" and micrograph.particle_diameter is not None
        right = 1.15 * micrograph.particle_diameter
        assert 0.75 * right < micrograph.box_size < 1.35 * right
        known = np.isfinite(micrograph.truths[0].rotation)
        assert known.sum() == 0 or known.sum() > 5


def test_nonsense_holds_no_number_that_is_none() -> None:
    for name, make in nonsense_images().items():
        image, box_size = make(0)
        assert np.isfinite(image).all() and np.ptp(image) > 0 and box_size < min(image.shape), name


def test_a_line_of_nonsense_says_what_the_product_said() -> None:
    told = field.measure_nonsense("gradient", 0)
    assert told["mode"] == "nonsense" and isinstance(told["refused"], bool) and told["said"]
    json.dumps(told)
