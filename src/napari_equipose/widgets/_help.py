"""The manual, a button away: the pages that came with the package, and so are of its version."""

import re
from pathlib import Path

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices, QImage, QTextBlock
from qtpy.QtWidgets import QTextBrowser, QToolButton, QVBoxLayout, QWidget

from ._forms import named

_PACKAGE = Path(__file__).parents[1]
_PLACES = (
    _PACKAGE / "docs",  # in the wheel
    _PACKAGE.parent.parent / "docs",  # in the source tree
)


def page_url(page: str) -> QUrl:
    """Where a page of the manual stands, such as ``index.md#words``."""
    path, _, heading = page.partition("#")
    folder = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
    url = QUrl.fromLocalFile(str(folder / path))
    url.setFragment(heading)
    return url


def help_button(page: str, name: str) -> QToolButton:
    """Make a button that shows a page of the manual."""
    button = named(QToolButton(), name, "Show the page of the manual that tells of this panel.")
    button.setText("?")
    button.clicked.connect(lambda: show_page(page, button))
    return button


def show_page(page: str, parent: QWidget) -> None:
    """Show a page in a window of its own; links to the web open in the browser."""
    ManualWindow(parent).open_page(page_url(page))


class ManualWindow(QWidget):
    """A window with a page of the manual, whose links lead to the others.

    Parameters
    ----------
    parent : QWidget
        The control it was asked for from; the window goes when that goes.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setObjectName("equipose.manual")
        self.setWindowTitle("Equipose: manual")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(820, 700)
        self.browser = _Browser()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.browser)

    def open_page(self, url: QUrl) -> None:
        """Show a Markdown file, from the heading on that follows #, written as GitHub does."""
        self.show()  # first, since where a heading stands depends on the width
        self.browser.open_page(url)


class _Browser(QTextBrowser):
    """Shows Markdown files; pictures are as wide as the window at most."""

    def __init__(self) -> None:
        super().__init__()
        self.setOpenLinks(False)
        self.anchorClicked.connect(self._follow)

    def open_page(self, url: QUrl) -> None:
        """Show a page from a heading on."""
        self.setSource(url.adjusted(QUrl.UrlFormattingOption.RemoveFragment))
        heading = self.heading(url.fragment())
        if heading is not None:
            top = self.document().documentLayout().blockBoundingRect(heading).top()
            self.verticalScrollBar().setValue(int(top))

    def heading(self, slug: str) -> QTextBlock | None:
        """Find the heading that a link means by ``#slug``."""
        block = self.document().begin()
        while block.isValid():
            words = re.sub(r"[^\w\- ]", "", block.text().lower())
            if block.blockFormat().headingLevel() and words.replace(" ", "-") == slug:
                return block
            block = block.next()
        return None

    def loadResource(self, kind: int, url: QUrl) -> object:
        """Fit pictures in."""
        found = super().loadResource(kind, url)
        path = self.source().resolved(url).toLocalFile()
        if path.endswith(".png"):
            picture = QImage(path)
            smooth = Qt.TransformationMode.SmoothTransformation
            return picture.scaledToWidth(min(picture.width(), 760), smooth)
        return found

    def _follow(self, link: QUrl) -> None:
        url = self.source().resolved(link)
        if url.isLocalFile():
            self.open_page(url)
        else:
            QDesktopServices.openUrl(url)
