"""``equipose info``."""

from typing import TYPE_CHECKING, Any

import typer

from ._options import Json, ModelFile

if TYPE_CHECKING:
    from ..models import Capabilities


def info(model: ModelFile, as_json: Json = False) -> None:
    """Say what a model file is, what it infers, how it was trained, and on what."""
    import json

    from ..models import load_model, read_metadata

    metadata = read_metadata(model)
    able = load_model(model).model.capabilities
    if as_json:
        told = {
            "dimensions": sorted(able.dimensions),
            "infers": sorted(able.infers),
            "fully_convolutional": able.fully_convolutional,
            "clusters": able.clusters,
        }
        typer.echo(json.dumps({"model": str(model), **metadata, "capabilities": told}))
        return
    for title, content in _sections(metadata, able):
        typer.echo(f"{title}:")
        for name, value in content.items():
            typer.echo(f"  {name}: {_plain(value)}")


def _sections(metadata: dict[str, Any], able: "Capabilities") -> list[tuple[str, dict[str, Any]]]:
    record = dict(metadata.get("record", {}))
    training, source = record.pop("training", {}), record.pop("source", {})
    what = {name: metadata.get(name, "unknown") for name in ("kind", "digest")}
    what |= {
        "sees": " or ".join({2: "images", 3: "volumes"}[d] for d in sorted(able.dimensions)),
        "infers": ", ".join([*sorted(able.infers), "content"]),
        "finds objects in large images": "yes" if able.fully_convolutional else "no, in boxes only",
    }
    size = record.pop("pixel_size", None)
    what["pixel size"] = "unknown" if size is None else f"{size:g} Angstrom"
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
