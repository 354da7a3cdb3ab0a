"""The plot of the latent space as a widget: the mouse, the keys, what is seen, figures."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyqtgraph as pg
import pytest
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_equipose.geometry import InputError
from napari_equipose.widgets._density import MOST_DOTS
from napari_equipose.widgets._latent_plot import LatentPlot

RED, GREEN, _ = np.eye(3, dtype=np.uint8) * 255
NO_KEY = Qt.KeyboardModifier.NoModifier
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def plot(qtbot, monkeypatch) -> LatentPlot:
    monkeypatch.setitem(pg.CONFIG_OPTIONS, "mouseRateLimit", -1)  # no step of a drag is left out
    plot = LatentPlot()
    qtbot.addWidget(plot)
    plot.resize(500, 450)
    with qtbot.waitExposed(plot):
        plot.show()
    return plot


GRID = np.stack(np.meshgrid(np.arange(11.0), np.arange(11.0)), -1).reshape(-1, 2)
AROUND = np.array([[2.5, 2.5], [7.5, 2.5], [7.5, 7.5], [5, 4.5], [2.5, 7.5]])


def screen(plot: LatentPlot, xy: Any) -> QPoint:
    return plot.canvas.mapFromScene(plot.view.mapViewToScene(QPointF(*xy)))


def drag(plot: LatentPlot, corners: Any, key: Any = NO_KEY) -> None:
    port, places = plot.canvas.viewport(), [screen(plot, corner) for corner in corners]
    QTest.mousePress(port, LEFT, key, places[0])
    for place in places[1:]:
        QTest.mouseMove(port, place)
        QApplication.processEvents()
    QTest.mouseRelease(port, LEFT, key, places[-1])


def click(plot: LatentPlot, xy: Any, shift: int = 0) -> None:
    QTest.mouseClick(plot.canvas.viewport(), LEFT, NO_KEY, screen(plot, xy) + QPoint(shift, 0))


def click_again(plot: LatentPlot, xy: Any) -> None:
    """Send what comes of the second click of a double one."""
    port, place = plot.canvas.viewport(), QPointF(screen(plot, xy))
    there = port.mapToGlobal(place)
    for kind in (QEvent.Type.MouseButtonDblClick, QEvent.Type.MouseButtonRelease):
        held = LEFT if kind == QEvent.Type.MouseButtonDblClick else Qt.MouseButton.NoButton
        QApplication.sendEvent(port, QMouseEvent(kind, place, there, LEFT, held, NO_KEY))


def heard(signal: Any) -> list[Any]:
    said: list[Any] = []
    signal.connect(lambda *what: said.append(what[0] if len(what) == 1 else what))
    return said


@pytest.mark.parametrize(
    ("key", "how"),
    [
        (NO_KEY, "replace"),
        (Qt.KeyboardModifier.ShiftModifier, "add"),
        (Qt.KeyboardModifier.ControlModifier, "remove"),
    ],
)
def test_a_lasso_tells_who_is_inside_and_what_to_do(plot, key, how) -> None:
    plot.set_points(GRID)
    plot.set_mode("lasso")
    said, before = heard(plot.lassoed), plot.bounds()
    drag(plot, AROUND, key)
    ((mask, what),) = said
    assert what == how
    np.testing.assert_array_equal(mask, Outline(AROUND, closed=False).contains_points(GRID))
    assert plot.bounds() == before


def test_a_rectangle_is_drawn_from_corner_to_corner(plot) -> None:
    plot.set_points(GRID)
    plot.set_mode("rectangle")
    said = heard(plot.lassoed)
    drag(plot, [(8.5, 1.5), (5, 9), (3.5, 6.5)])
    ((mask, _),) = said
    x, y = GRID.T
    np.testing.assert_array_equal(mask, (x > 3.5) & (x < 8.5) & (y > 1.5) & (y < 6.5))


def test_escape_gives_an_outline_up(plot) -> None:
    plot.set_points(GRID)
    plot.set_mode("lasso")
    said = heard(plot.lassoed)
    port = plot.canvas.viewport()
    QTest.mousePress(port, LEFT, NO_KEY, screen(plot, AROUND[0]))
    for corner in AROUND[1:]:
        QTest.mouseMove(port, screen(plot, corner))
        QApplication.processEvents()
    QTest.keyClick(plot, Qt.Key.Key_Escape)
    QTest.mouseRelease(port, LEFT, NO_KEY, screen(plot, AROUND[-1]))
    assert not said
    drag(plot, AROUND)
    assert len(said) == 1


def test_what_is_hidden_or_has_no_place_is_neither_caught_nor_clicked(plot) -> None:
    xy = GRID.copy()
    xy[48] = np.nan
    plot.set_points(xy)
    shown = np.ones(len(xy), bool)
    shown[49] = False
    plot.set_shown(shown)
    plot.set_mode("rectangle")
    caught, clicked = heard(plot.lassoed), heard(plot.clicked)
    drag(plot, [(2.5, 2.5), (5, 5), (7.5, 7.5)])
    assert not caught[0][0][[48, 49]].any()
    assert caught[0][0].sum() == 23
    click(plot, GRID[49])
    click(plot, GRID[50])
    assert clicked == [-1, 50]
    plot.set_shown(None)
    click(plot, GRID[49])
    assert clicked[-1] == 49


def test_a_click_means_the_nearest_point_within_eight_pixels(plot) -> None:
    plot.set_points(np.array([[0.0, 0.0], [1.0, 1.0], [0.02, 0.0]]))
    clicked = heard(plot.clicked)
    click(plot, (1, 1), -6)
    click(plot, (1, 1), -11)
    click(plot, (0, 0))
    click(plot, (0.02, 0))
    assert clicked == [1, -1, 0, 2]


def test_a_drag_moves_the_view_and_the_key_a_and_a_double_click_show_all(plot) -> None:
    plot.set_points(GRID)
    whole = plot.bounds()
    drag(plot, [(5, 5), (6, 6), (7, 6)])
    assert plot.bounds().x0 == pytest.approx(whole.x0 - 2, abs=0.1)
    assert plot.bounds().y0 == pytest.approx(whole.y0 - 1, abs=0.1)
    QTest.keyClick(plot, Qt.Key.Key_A)
    assert tuple(plot.bounds()) == pytest.approx(tuple(whole))
    drag(plot, [(5, 5), (6, 6), (7, 6)])
    click(plot, (5, 5))
    click_again(plot, (5, 5))
    assert tuple(plot.bounds()) == pytest.approx(tuple(whole))


@pytest.mark.parametrize("mode", ["pan", "lasso", "rectangle", "path"])
def test_the_wheel_zooms_about_the_cursor_in_every_mode(plot, mode) -> None:
    plot.set_points(GRID)
    plot.set_mode(mode)
    before, place = plot.bounds(), screen(plot, (2, 8))
    port = plot.canvas.viewport()
    there = port.mapToGlobal(place)
    phase, none = Qt.ScrollPhase.NoScrollPhase, Qt.MouseButton.NoButton
    turn = QPoint(0, 240)
    event = QWheelEvent(QPointF(place), QPointF(there), turn, turn, none, NO_KEY, phase, False)
    QApplication.sendEvent(port, event)
    after = plot.bounds()
    assert after.x1 - after.x0 < 0.9 * (before.x1 - before.x0)
    moved = screen(plot, (2, 8)) - place
    assert moved.manhattanLength() <= 2


def test_new_places_are_all_shown_or_the_view_is_kept(plot) -> None:
    plot.set_points(GRID)
    before = plot.bounds()
    plot.set_points(GRID * 5, keep_view=True)
    assert plot.bounds() == before
    plot.set_points(GRID * 5)
    assert plot.bounds().x1 > 50
    for few in (np.zeros((1, 2)), np.full((3, 2), np.nan), np.zeros((0, 2))):
        plot.set_points(few)
        assert np.isfinite(plot.bounds()).all()
        assert plot.grab().width() > 0


def test_clicks_make_a_path_and_backspace_shortens_it(plot) -> None:
    plot.set_points(GRID)
    plot.set_mode("path")
    paths, clicked = heard(plot.path_changed), heard(plot.clicked)
    for corner in AROUND[:3]:
        click(plot, corner)
    QTest.keyClick(plot, Qt.Key.Key_Backspace)
    plot.clear_path()
    plot.clear_path()
    assert [len(path) for path in paths] == [1, 2, 3, 2, 0]
    np.testing.assert_allclose(paths[2], AROUND[:3], atol=0.05)
    assert not clicked


def test_the_cursor_is_told_of_not_too_often_and_when_it_leaves(plot, qtbot) -> None:
    plot.set_points(GRID)
    hovered, left = heard(plot.hovered), heard(plot.left)
    moved = plot.canvas.scene().sigMouseMoved
    for x in np.linspace(1, 9, 50):
        moved.emit(plot.view.mapViewToScene(QPointF(x, 4)))
    assert len(hovered) == 1  # all came at once
    qtbot.waitUntil(lambda: len(hovered) == 2)
    assert hovered == [pytest.approx((1, 4)), pytest.approx((9, 4))]
    assert not left
    moved.emit(QPointF(1, 1))  # on an axis
    QApplication.sendEvent(plot, QEvent(QEvent.Type.Leave))
    assert len(left) == 1


def colour_at(plot: LatentPlot, xy: Any) -> NDArray[np.int64]:
    image = plot.grab().toImage()
    place = plot.canvas.mapTo(plot, screen(plot, xy)) * image.devicePixelRatio()
    colour = image.pixelColor(place)
    return np.array([colour.red(), colour.green(), colour.blue()])


def test_what_is_selected_keeps_its_colour_and_the_others_fade(plot) -> None:
    plot.set_points(GRID)
    plot.set_colours(np.tile(GREEN, (len(GRID), 1)))
    plain = colour_at(plot, GRID[60])
    plot.set_selected(np.arange(len(GRID)) == 60)
    assert np.abs(colour_at(plot, GRID[60]) - plain).max() < 10
    assert np.abs(colour_at(plot, GRID[61]) - plain).max() > 60
    plot.set_selected(np.zeros(len(GRID), bool))
    assert np.abs(colour_at(plot, GRID[61]) - plain).max() < 10


def test_the_current_point_has_a_ring(plot) -> None:
    plot.set_points(GRID)
    plain = plot.grab().toImage()
    plot.set_current(60)
    assert plot.grab().toImage() != plain
    plot.set_current(None)
    assert plot.grab().toImage() == plain


@pytest.mark.parametrize("coloured", [False, True])
def test_pictures_behind_have_their_first_row_at_the_top(plot, coloured) -> None:
    levels = np.array([[40, 80, 120], [160, 200, 240]], np.uint8)
    pictures = np.broadcast_to(levels[:, :, None, None], (2, 3, 8, 8)).copy()
    if coloured:
        pictures = np.stack((pictures, 0 * pictures, 255 - pictures), -1)
    plot.set_points(np.array([[0.0, 0.0], [3.0, 2.0]]))
    before = colour_at(plot, (1.5, 1.5))
    plot.set_background(pictures, (0, 3, 0, 2))
    for row, column in np.ndindex(2, 3):
        level = int(levels[row, column])
        expected = (level, 0, 255 - level) if coloured else (level,) * 3
        found = colour_at(plot, (column + 0.5, 1.5 - row))
        np.testing.assert_allclose(found, expected, atol=2)
    plot.set_background(None)
    np.testing.assert_array_equal(colour_at(plot, (1.5, 1.5)), before)


@pytest.mark.parametrize("n", [50, 2 * MOST_DOTS])
def test_a_figure_of_shapes_has_words_and_circles_and_the_density_as_a_picture(
    plot, tmp_path: Path, n: int
) -> None:
    plot.set_points(np.random.default_rng(0).normal(size=(n, 2)))
    plot.set_labels("first", "second")
    plot.set_mode("path")
    for corner in ((0, 0), (1, 0), (0, 1)):
        click(plot, corner)
    plot.export(tmp_path / "figure.svg")
    tags = list(ElementTree.parse(tmp_path / "figure.svg").iter())
    words = {(one.text or "").strip() for one in tags if one.tag.endswith("text")}
    assert {"first", "second", "0"} <= words
    circles = len([one for one in tags if one.tag.endswith(("circle", "ellipse"))])
    circles -= 2 * 3  # corners of the path
    pictures = [one for one in tags if one.tag.endswith("image")]
    assert circles == n if n <= MOST_DOTS else 0 < circles < n / 10
    assert len(pictures) == (n > MOST_DOTS)
    lines = [one.get("points", "").split() for one in tags if one.tag.endswith("polyline")]
    assert sum(len(corners) == 3 for corners in lines) == 2  # the path, light on dark


def test_a_figure_of_pixels_is_fine_and_on_white(plot, tmp_path: Path) -> None:
    plot.set_points(GRID)
    plot.set_colours(np.tile(RED, (len(GRID), 1)))
    before = plot.grab().toImage()
    plot.export(str(tmp_path / "figure.png"))
    pixels = np.asarray(Image.open(tmp_path / "figure.png").convert("RGB"))
    assert pixels.shape == (3 * 450, 3 * 500, 3)
    assert (pixels == 255).all(2).mean() > 0.8
    assert ((pixels[..., 0] > 200) & (pixels[..., 1:] < 40).all(2)).sum() > len(GRID)
    assert plot.grab().toImage() == before


def test_a_figure_of_another_kind_is_refused(plot, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"figure\.jpg.*\.svg or \.png"):
        plot.export(tmp_path / "figure.jpg")
    assert not list(tmp_path.iterdir())
