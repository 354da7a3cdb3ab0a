"""What the answers of `hypotheses` are called, and what to do with them, for every front end."""

from collections.abc import Sequence

from ._hypotheses import Hypothesis

NEXT_STEPS = (
    "Show a few objects, or try the other polarity or another box size: the side of a square that "
    "holds one object."
)
"""What can be done where nothing recurs."""


def title_of(hypothesis: Hypothesis) -> str:
    """Say in a line what an answer is."""
    count = hypothesis.n_objects
    objects = "1 object" if count == 1 else f"{count} objects"
    return f"{hypothesis.polarity}, {objects}, {hypothesis.evidence:.0%} of the evidence"


def question_of(found: Sequence[Hypothesis]) -> str:
    """Say how sure the answers are, the likeliest first, and ask for what a person knows."""
    if len(found) == 1:
        return "Are these your objects? If not, show a few of them."
    if found[0].evidence <= 0.5:
        return (
            "No answer has most of the evidence. Which of these are your objects? If none, show a "
            "few of them."
        )
    return (
        "Which of these are your objects? Without a choice the first is taken; if none is right, "
        "show a few of them."
    )
