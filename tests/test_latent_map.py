"""Maps of content in a plane, and what is drawn at places of them."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import MODEL
from torch import Tensor

from napari_equipose.geometry import InputError
from napari_equipose.inference import (
    LatentMap,
    Progress,
    draw_content,
    draw_grid,
    draw_path,
    finish,
    latent_dimensions,
    latent_map,
)
from napari_equipose.inference import _latent_map as module
from napari_equipose.models import (
    MCEVAE,
    Capabilities,
    Harmony,
    HarmonyConfig,
    MCEVAEConfig,
    Normalisation,
    SavedModel,
    SpatialVAE,
    SpatialVAEConfig,
    TargetVAE,
)


def _content(n: int = 200, k: int = 4, seed: int = 0) -> NDArray[np.float64]:
    """Content whose dimensions are spread by 1, 2, 3, ..., turned."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(k, k)))
    return rng.normal(size=(n, k)) * np.arange(1, k + 1) @ turn + np.arange(k)


def _clouds(n: int = 40, k: int = 3) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat([0, 1, 2], n))
    return rng.normal(size=(3 * n, k)) + 20.0 * np.eye(k)[label], label


def test_two_dimensions_lie_along_the_axes_and_the_others_at_their_median() -> None:
    content = _content()
    made = latent_dimensions(content, 2, 0)
    assert made.labels == ("content_2", "content_0")
    np.testing.assert_array_equal(made.coordinates, content[:, [2, 0]].astype(np.float32))
    median = np.median(content, 0)
    expected = [[5.0, median[1], -1.0, median[3]]]
    np.testing.assert_allclose(made.content_at([[-1.0, 5.0]]), expected, rtol=1e-6)


def test_objects_of_one_dimension_are_spread_by_their_density_and_by_no_chance() -> None:
    content = np.random.default_rng(0).normal(size=(4000, 1))
    made = latent_dimensions(content, 0)
    np.testing.assert_array_equal(made.coordinates[:, 0], content[:, 0].astype(np.float32))
    x, y = made.coordinates.T
    assert made.labels == ("content_0", "density")
    assert np.abs(y[np.abs(x) < 0.2]).max() > 0.9
    assert np.abs(y[np.abs(x) > 2.5]).max() < 0.1
    middle = np.sort(y[np.abs(x) < 0.5])
    assert np.abs(np.quantile(middle, [0.25, 0.75]) - [-0.46, 0.46]).max() < 0.05  # evenly
    np.testing.assert_allclose(made.content_at([[0.3, 0.7]]), [[0.3]], rtol=1e-6)
    for method in ("pca", "t-sne"):
        again = finish(latent_map(content, method))  # type: ignore[arg-type]
        np.testing.assert_array_equal(again.coordinates, made.coordinates)


def test_the_principal_plane_holds_the_most_variance_and_is_read_back_exactly() -> None:
    content = _content()
    made = finish(latent_map(content, "pca"))
    centred = content - content.mean(0)
    _, strength, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(made.coordinates.std(0), strength[:2] / 200**0.5, rtol=1e-5)
    back = made.content_at(made.coordinates)
    expected = centred @ axes[:2].T @ axes[:2] + content.mean(0)
    np.testing.assert_allclose(back, expected, atol=1e-5)
    percent = 100 * strength[0] ** 2 / (strength**2).sum()
    assert made.labels[0] == f"component 1 ({percent:.0f} %)"


def test_a_principal_plane_of_two_dimensions_turns_them_alone() -> None:
    content = _content()
    flat = finish(latent_map(content, "pca", dims=[3, 1]))
    back = flat.content_at(flat.coordinates)
    np.testing.assert_allclose(back[:, [1, 3]], content[:, [1, 3]], atol=1e-5)
    np.testing.assert_allclose(back[:, 0], np.median(content[:, 0]), rtol=1e-6)


def _check_neighbours(method: Any, n: int) -> None:
    content, label = _clouds(n)
    made = finish(latent_map(content, method, seed=3))
    middles = np.stack([made.coordinates[label == one].mean(0) for one in range(3)])
    apart = np.linalg.norm(made.coordinates[:, None] - middles, axis=-1)
    np.testing.assert_array_equal(apart.argmin(1), label)
    # at an object its own content, and at the middle of a cloud some of that cloud
    np.testing.assert_allclose(made.content_at(made.coordinates), content, atol=1e-4)
    np.testing.assert_array_equal(made.content_at(middles).argmax(1), [0, 1, 2])


def test_t_sne_keeps_clouds_apart_and_leads_back() -> None:
    _check_neighbours("t-sne", 40)


def test_umap_keeps_clouds_apart_and_leads_back() -> None:
    pytest.importorskip("umap")
    # of few objects sooner done than compiled, which has to be said before numba is loaded
    script = "import test_latent_map; test_latent_map._check_neighbours('umap', 12)"
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": paths}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr


def test_objects_beyond_the_most_that_are_laid_out_join_their_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(module._MOST, "t-sne", 60)
    content, label = _clouds(30)
    seen: list[Progress] = []
    made = finish(latent_map(content, "t-sne"), seen.append)
    assert [step.done for step in seen] == [0, 1, 2]
    assert "60 objects" in seen[0].message
    middles = np.stack([made.coordinates[label == one].mean(0) for one in range(3)])
    apart = np.linalg.norm(made.coordinates[:, None] - middles, axis=-1)
    np.testing.assert_array_equal(apart.argmin(1), label)


def test_a_seed_repeats_the_map() -> None:
    content, _ = _clouds(15)
    maps = [finish(latent_map(content, "t-sne", seed=1)).coordinates for _ in range(2)]
    np.testing.assert_array_equal(*maps)


@pytest.mark.parametrize("method", ["pca", "t-sne", "dimensions"])
def test_rows_that_are_not_finite_are_left_out(method: Any) -> None:
    content = _content(30)
    holes = content.copy()
    holes[[3, 7], [0, 2]] = np.nan, np.inf

    def made(values: NDArray[np.float64]) -> LatentMap:
        if method == "dimensions":
            return latent_dimensions(values, 0, 1)
        return finish(latent_map(values, method))

    coordinates = made(holes).coordinates
    assert np.isnan(coordinates[[3, 7]]).all()
    kept = np.delete(np.arange(30), [3, 7])
    np.testing.assert_allclose(coordinates[kept], made(content[kept]).coordinates)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_objects_have_a_principal_plane(n: int) -> None:
    made = finish(latent_map(_content(n), "pca"))
    assert made.coordinates.shape == (n, 2)
    assert np.isfinite(made.coordinates).all()
    assert np.isfinite(made.content_at([[0.0, 1.0]])).all()
    assert latent_dimensions(_content(n), 0).coordinates.shape == (n, 2)


def test_equal_contents_have_every_map() -> None:
    equal = np.ones((20, 3))
    for method in ("pca", "t-sne"):
        made = finish(latent_map(equal, method))  # type: ignore[arg-type]
        assert np.isfinite(made.coordinates).all()
        np.testing.assert_allclose(made.content_at(made.coordinates), equal)
    assert np.isfinite(latent_dimensions(equal, 1).coordinates).all()


def test_what_has_no_map_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = _content()
    with pytest.raises(InputError, match=r"must be \(n, k\)"):
        latent_dimensions(np.zeros(3), 0)
    with pytest.raises(InputError, match="dimensions 0 to 3, got 4"):
        latent_dimensions(content, 0, 4)
    with pytest.raises(InputError, match="pca, umap or t-sne"):
        finish(latent_map(content, "sne"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"0 to 3, got \[7\]"):
        finish(latent_map(content, "pca", dims=[7]))
    with pytest.raises(InputError, match="at least 5 objects, got 4"):
        finish(latent_map(content[:4], "t-sne"))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install \"napari-equipose\[umap\]\""):
        finish(latent_map(content, "umap"))
    with pytest.raises(InputError, match="finite"):
        latent_dimensions(content, 0, 1).content_at([[np.nan, 0]])


class _Dots(torch.nn.Module):
    """Draws the content itself: a row of pixels, as many as it has dimensions."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.config = SimpleNamespace(content_dim=3, box_size=3, channels=channels)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            dimensions=frozenset({2}),
            infers=frozenset(),
            fully_convolutional=False,
            clusters=False,
        )

    @torch.no_grad()
    def generate(self, content: Tensor, poses: Any = None, box_size: Any = None) -> Tensor:
        shape = (len(content), self.config.channels, 3, 3)
        return content[:, None, None, :].expand(shape) + self.weight


def _saved(model: Any) -> SavedModel:
    return SavedModel(kind="test", model=model, normalisation=Normalisation())


def test_a_grid_is_drawn_of_the_middles_of_its_cells_from_the_top() -> None:
    content = np.zeros((50, 3))
    content[:, :2] = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    made = latent_dimensions(content, 0, 1)
    grid, bounds = draw_grid(_saved(_Dots()), made, 4, (0.0, 8.0, -4.0, 0.0))
    assert grid.shape == (4, 4, 3, 3) and bounds == (0.0, 8.0, -4.0, 0.0)
    np.testing.assert_allclose(grid[0, :, 0, 0], [1, 3, 5, 7])
    np.testing.assert_allclose(grid[:, 0, 0, 1], [-0.5, -1.5, -2.5, -3.5])
    _, around = draw_grid(_saved(_Dots()), made, 2)
    np.testing.assert_allclose(around[:2], np.percentile(content[:, 0], [1, 99]), rtol=1e-6)


def test_a_grid_of_objects_at_one_place_has_a_width() -> None:
    _, bounds = draw_grid(_saved(_Dots()), latent_dimensions(np.ones((5, 3)), 0, 1), 2)
    assert bounds == (0.5, 1.5, 0.5, 1.5)


def test_a_path_goes_in_equal_steps_through_its_corners() -> None:
    corners = np.array([[0.0, 0, 0], [3, 0, 0], [3, 0, 0], [3, 1, 0]])
    seen: list[Progress] = []
    film = finish(draw_path(_saved(_Dots()), corners, 9), seen.append)
    assert film.shape == (9, 3, 3) and seen[-1][:2] == (9, 9)
    np.testing.assert_allclose(film[:, 0, 0], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3, 3])
    np.testing.assert_allclose(film[:, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0.5, 1])
    still = finish(draw_path(_saved(_Dots()), corners[1:3], 2))
    np.testing.assert_allclose(still[0], still[1])


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    content = np.random.default_rng(0).normal(size=(7, 3))
    at_once = draw_content(_saved(_Dots()), content)
    monkeypatch.setattr("napari_equipose.inference._latent_drawings._BATCH", 20)
    np.testing.assert_array_equal(draw_content(_saved(_Dots()), content), at_once)


def test_colours_come_last() -> None:
    assert draw_content(_saved(_Dots(channels=3)), np.zeros((2, 3))).shape == (2, 3, 3, 3)
    assert draw_content(_saved(_Dots(channels=3)), np.zeros((0, 3))).shape == (0, 3, 3, 3)


@pytest.mark.parametrize(
    ("model", "k", "shape"),
    [
        (lambda: TargetVAE(MODEL), 2, (16, 16)),
        (lambda: MCEVAE(MCEVAEConfig(box_size=16, content_dim=2, categories=3)), 5, (16, 16)),
        (lambda: SpatialVAE(SpatialVAEConfig(box_size=16, content_dim=2)), 2, (16, 16)),
        (
            lambda: Harmony(
                HarmonyConfig(box_size=16, dimensions=3, width=4, n_pictures=1, content_dim=1)
            ),
            1,
            (16, 16, 16),
        ),
    ],
    ids=["target-vae", "mce-vae", "spatial-vae", "harmony"],
)
def test_every_system_draws_its_content_at_rest(model: Any, k: int, shape: tuple[int]) -> None:
    torch.manual_seed(0)
    saved = _saved(model().eval())
    content = np.random.default_rng(0).normal(size=(3, k))
    drawn = draw_content(saved, content)
    assert drawn.shape == (3, *shape) and drawn.dtype == np.float32
    with torch.no_grad():
        expected = saved.model.generate(torch.from_numpy(content).float())[:, 0].numpy()
    np.testing.assert_allclose(drawn, expected, atol=1e-6)
    with pytest.raises(InputError, match=rf"content of \(m, {k}\)"):
        draw_content(saved, np.zeros((3, k + 1)))


def test_what_can_not_be_drawn_is_refused() -> None:
    saved, made = _saved(_Dots()), latent_dimensions(np.full((3, 3), np.nan), 0, 1)
    with pytest.raises(InputError, match="at least one object along"):
        draw_grid(saved, made, 0)
    with pytest.raises(InputError, match="no objects on the map"):
        draw_grid(saved, made, 3)
    with pytest.raises(InputError, match="two corners and two frames, got 1 and 5"):
        finish(draw_path(saved, np.zeros((1, 3)), 5))
