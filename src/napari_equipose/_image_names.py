"""Which names in two tables mean one image: by as much of their paths as tells images apart."""

import re
from collections.abc import Iterable

from napari_equipose.geometry import InputError

_Parts = tuple[str, ...]


def image_keys(found: Iterable[str], truth: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Give each name in two tables a key; names of one image have one key.

    A longer path or another suffix does not make another image, unless a table has several of
    that name: then as many of their folders count as tell them apart.

    Parameters
    ----------
    found, truth : iterable of str
        The names in the two tables, in any order and number; of files, with or without folders
        and suffix.

    Returns
    -------
    tuple of dict
        The key of each name of ``found`` and of ``truth``.

    Raises
    ------
    InputError
        If a name may mean several images of the other table.
    """
    parts = [{name: _parts(name) for name in names} for names in (found, truth)]
    stems = {_stem(path[-1]) for table in parts for path in table.values()}
    keys: tuple[dict[str, str], dict[str, str]] = ({}, {})
    groups: list[dict[str, dict[str, _Parts]]] = [{stem: {} for stem in stems} for _ in parts]
    for table, group in zip(parts, groups, strict=True):
        for name, path in table.items():
            group[_stem(path[-1])][name] = path
    for stem in stems:
        for mine, key in zip(_told_apart(groups[0][stem], groups[1][stem]), keys, strict=True):
            key |= {name: "/".join(path) for name, path in mine.items()}
    return keys


def _parts(name: str) -> _Parts:
    return tuple(part for part in re.split(r"[/\\]", name) if part not in ("", ".")) or (name,)


def _stem(name: str) -> str:
    return re.sub(r"(?<=.)\.\w+$", "", name)


def _told_apart(*tables: dict[str, _Parts]) -> list[dict[str, _Parts]]:
    """Shorten the paths of names of one stem to what tells those of a table apart."""
    plain = [{n: (*path[:-1], _stem(path[-1])) for n, path in table.items()} for table in tables]
    depths = range(1, 1 + max(len(path) for table in tables for path in table.values()))
    # with the suffix only where nothing else is different
    for paths, depth in [(paths, depth) for paths in (plain, list(tables)) for depth in depths]:
        short = [{name: path[-depth:] for name, path in table.items()} for table in paths]
        if all(
            len(set(mine.values())) == len(set(table.values()))
            for mine, table in zip(short, tables, strict=True)
        ):
            break
    for mine, other in (short, short[::-1]):
        _check_clear(mine, other)
    return short


def _check_clear(mine: dict[str, _Parts], other: dict[str, _Parts]) -> None:
    """Refuse a name too short to say which of the other table's images it means."""
    known = set(other.values())
    for name, path in mine.items():
        meant = [theirs for theirs, long in other.items() if long[-len(path) :] == path]
        if path not in known and meant:
            raise InputError(
                f"the image {name!r} of one table may be {' or '.join(map(repr, meant[:3]))} of "
                "the other: write the folders that tell images apart in both."
            )
