"""What is uploaded to the package index: wheel, source, and the page that the index shows."""

import re
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Homepage"]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, made from the source archive, and that archive."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, bytes]:
    """The files of the wheel, by name."""
    (path,) = built.glob("*.whl")
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Message:
    (name,) = (name for name in wheel if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel[name])


def links(text: str) -> list[str]:
    return [first or second for first, second in LINK.findall(text)]


def headings(page: Path) -> set[str]:
    """What `#` and these words lead to, as GitHub has it."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_the_index_takes_them(built: Path) -> None:
    done = run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir())
    assert done.count("PASSED") == 2


def test_the_wheel_holds_what_it_needs_and_no_more(wheel: dict[str, bytes]) -> None:
    package = ROOT / "src" / "napari_equipose"
    code = {
        f"napari_equipose/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*.*")
        if path.suffix != ".pyc"
    }
    assert {"napari_equipose/napari.yaml", "napari_equipose/py.typed"} < code
    data = {f"napari_equipose/sample_data/{path.name}" for path in ROOT.glob("sample_data/*")}
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/results/*.md")]
    manual = {f"napari_equipose/{path.relative_to(ROOT).as_posix()}" for path in pages}
    for page in pages:
        for link in links(page.read_text()):
            if "images/" in link:
                manual.add(f"napari_equipose/docs/images/{Path(link).name}")
    inside = {name for name in wheel if ".dist-info/" not in name}
    assert inside == code | data | manual
    assert sum(map(len, wheel.values())) < 6_000_000


def test_the_manual_links_only_to_what_is_there(wheel: dict[str, bytes]) -> None:
    for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/results/*.md")]:
        for link in links(page.read_text()):
            path, _, heading = link.partition("#")
            if path.startswith("https:"):
                continue
            target = (page.parent / path).resolve() if path else page
            assert f"napari_equipose/{target.relative_to(ROOT).as_posix()}" in wheel, link
            assert not heading or heading in headings(target), (page.name, link)


def test_the_page_of_the_index_leads_to_files_of_the_repository(metadata: Message) -> None:
    """Its links and pictures are whole addresses there, relative ones in the repository."""
    assert metadata["Description-Content-Type"] == "text/markdown"
    page = metadata.get_payload()
    assert isinstance(page, str)
    shown, written = links(page), links((ROOT / "README.md").read_text())
    assert len(shown) == len(written) > 5
    files = f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/raw/main/"
    for address, link in zip(shown, written, strict=True):
        assert address.startswith(("https://", "#")), address
        if link.startswith(("https://", "#")):
            assert address == link
            continue
        path, _, heading = link.partition("#")
        assert (ROOT / path).is_file(), link
        assert not heading or heading in headings(ROOT / path), link
        picture = path.endswith((".png", ".gif"))
        assert address == f"{files[picture]}{link}"


def test_one_address_of_the_repository_is_given_everywhere(metadata: Message) -> None:
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+", REPOSITORY)
    text = "".join((ROOT / name).read_text() for name in ("pyproject.toml", "CITATION.cff"))
    text += (ROOT / "README.md").read_text()
    own = re.findall(r"https?://[\w.]+/[\w-]+/napari-equipose(?![\w-])", text)
    assert set(own) == {REPOSITORY}
    labels = [line.partition(",")[0] for line in metadata.get_all("Project-URL") or []]
    assert labels == ["Homepage", "Documentation", "Issues", "Changelog"]


def test_the_source_can_be_tested_and_holds_nothing_of_this_machine(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "constraints.txt", "pyproject.toml", "tests/test_distribution.py"} < names
    assert not [name for name in names if re.match(r"\.(venv|ci|git/)|demo-output|dist/", name)]
