"""The application: its version, its errors, its signals."""

import os
import signal
import sys
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from .. import __version__
from .._memory import keep_memory


class _Commands(TyperGroup):
    """Commands whose refusals are one line and exit code 2."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run a command; turn a user's mistake into one line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None
        except (ValueError, OSError) as error:
            if not _is_for_the_user(error):
                raise
            text = str(error)
            if isinstance(error, OSError):
                text = f"{error.filename}: {error.strerror}."
            typer.echo(f"error: {' '.join(text.split())}", err=True)
            raise typer.Exit(2) from error


def _is_for_the_user(error: ValueError | OSError) -> bool:
    from ..geometry import InputError

    # What the system says of a file it names is for the user too; a closed pipe is not.
    return isinstance(error, InputError) or (
        isinstance(error, OSError) and error.filename is not None
    )


# Plain text: the last line of an error is its message, not the edge of a frame.
app = typer.Typer(
    cls=_Commands,
    name="equipose",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _equipose(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find objects in images, and the pose and content of each, without labels."""


def main() -> NoReturn:
    """Run the command line; a request to terminate counts as an interrupt."""
    signal.signal(signal.SIGTERM, _interrupt)
    # Before torch is imported: threads that wait by spinning slow training tenfold as soon as
    # another program wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    app()
    sys.exit(0)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
