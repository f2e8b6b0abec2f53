"""Conversations about an image. Owns which answers describe the image, and which turns are questions with answers.

"Describe the image in detail." asks for a description; "Describe the man on the left." is a question about a part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from datasetkit.core.given import GivenText
from datasetkit.core.record import Question

_MARK = re.compile(r"\s*<image>\s*", re.IGNORECASE)
_IMAGE = r"(?:images?|pictures?|photos?|photographs?|scenes?|snapshots?)"
# What stands between a request and the image without naming a part of it: "the main features of the given".
_FILLER = (
    r"(?:(?:the|this|that|a|an|all|of|in|and|its|entire|whole|overall|main|key|important|central|following|above|below|"
    r"subsequent|given|provided|presented|attached|displayed|shown|visual|content|contents|features?|elements?|details?|"
    r"aspects?|components?|specifics) )*"
)
_VERB = (
    r"(?:describe|caption|summari[sz]e|characteri[sz]e|portray|narrate|illustrate|explain|analy[sz]e|examine|clarify|"
    r"break down|walk through|walk me through|elaborate on|depict)"
)
_NOUN = r"(?:descriptions?|captions?|summary|explanation|account|interpretation|narrative|overview|depiction)"
_IS_CLOSED = re.compile(r"(?:is|are|was|does|did|has|which|who|how)\b")  # "Is the description of the image right?"
_REQUESTS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b{_VERB} (?:(?:for me|in detail|briefly|concisely|thoroughly),? )?{_FILLER}{_IMAGE}\b",
        rf"\b{_VERB} (?:it|this|everything)(?: (?:briefly|concisely|in (?:great )?detail))?[.!?]?$",
        r"\b(?:describe|explain|tell me|share) what (?:you (?:can )?see|is (?:shown|happening|visible))\b",
        rf"\b{_NOUN} (?:of|for|about|representing|that describes) {_FILLER}{_IMAGE}\b",
        rf"\b(?:write|give|provide|generate|create|compose|produce|add)\b(?: \S+){{0,6}} {_NOUN}[.!?]?$",
        rf"\b(?:tell me|talk) about {_FILLER}{_IMAGE}[.!?]?$",
        rf"\bwhat (?:do|can) you see(?: happening| going on)?(?: (?:in|on) {_FILLER}{_IMAGE})?[.!?]?$",
        rf"\bwhat(?: is|'s|s| do you think is) (?:happening|going on|shown|depicted|visible|displayed|there|in|on)\b"
        rf"(?: (?:in|on))? {_FILLER}{_IMAGE}[.!?]?$",
        rf"\bwhat (?:does|is) {_FILLER}{_IMAGE} (?:show|depict|about|of)[.!?]?$",
    )
)


def asks_for_description(request: str) -> bool:
    """Return whether a request asks for a description of the whole image."""
    words = " ".join(request.casefold().replace("\u2019", "'").split())
    return not _IS_CLOSED.match(words) and any(pattern.search(words) for pattern in _REQUESTS)


def without_marks(text: str) -> str:
    """Return a text without the marks that stand for the image."""
    return _MARK.sub("\n", text).strip()


def read_turns(pairs: Iterable[tuple[str, str]]) -> tuple[Sequence[GivenText], Sequence[Question]]:
    """Return the descriptions and the questions among pairs of a request and its answer; blank ones are left out."""
    texts: list[GivenText] = []
    questions: list[Question] = []
    for request, answer in ((without_marks(request), without_marks(answer)) for request, answer in pairs):
        if answer and (not request or asks_for_description(request)):
            texts.append(GivenText(answer, str(len(texts))))
        elif answer:
            questions.append(Question(request, answer, "conversation"))
    return texts, questions
