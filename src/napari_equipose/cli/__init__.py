"""The command line, ``equipose``: reads files, calls one function, writes files.

This is the one room that prints. A command's module names its options; what is slow to import
is imported when the command runs, so that ``--help`` is quick. Exit codes: 0; 2 for bad
arguments or bad input, with one line that says what and where; 130 when interrupted, with
what was done kept.
"""

from ._align import align
from ._app import app, main
from ._demo import demo
from ._detect import detect
from ._encode import encode
from ._evaluate import Evaluate, evaluate
from ._info import info
from ._preview import preview
from ._simulate import simulate
from ._train import train

# In the order of the help.
for command in (demo, preview, train, encode, detect, align):
    app.command()(command)
app.command(cls=Evaluate)(evaluate)
app.command()(info)
app.add_typer(simulate)

__all__ = ["app", "main"]
