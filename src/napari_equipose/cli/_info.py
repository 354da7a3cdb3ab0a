"""``equipose info``."""

from typing import Any

import typer

from ._options import Json, ModelFile


def info(model: ModelFile, as_json: Json = False) -> None:
    """Say what a model file is, how it was trained, and on what."""
    import json

    from ..models import read_metadata

    metadata = read_metadata(model)
    if as_json:
        typer.echo(json.dumps({"model": str(model), **metadata}))
        return
    for title, content in _sections(metadata):
        typer.echo(f"{title}:")
        for name, value in content.items():
            typer.echo(f"  {name}: {_plain(value)}")


def _sections(metadata: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    record = dict(metadata.get("record", {}))
    training, source = record.pop("training", {}), record.pop("source", {})
    what = {name: metadata.get(name, "unknown") for name in ("kind", "digest")}
    sections = [
        ("Model", what | metadata["config"]),
        ("Normalisation", metadata.get("normalisation", {})),
        ("Training", record),
        ("Settings of the training", training),
        ("What was asked for", source.get("run", source)),
    ]
    return [
        (title, {name: value for name, value in content.items() if value not in (None, {})})
        for title, content in sections
        if content
    ]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
