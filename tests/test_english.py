"""Plain English: no phrase that a native engineer would not write, in code, help and pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = {".py", ".md", ".html", ".yaml", ".yml"}
PLACES = ("annotator3d", "viz", "docs", "tools", "configs")
FILES = sorted(
    [p for place in PLACES for p in (ROOT / place).rglob("*") if p.suffix in SUFFIXES]
    + list(ROOT.glob("[RC]*.md"))  # README, CONTRIBUTING, CHANGELOG
)

# What to write instead; patterns are looked for in each file with its lines joined.
BANNED = {
    r"that there (is|are) not\b": "that does not exist; unknown",
    r"which there is not\b": "which does not exist",
    r"\b(of|by) then\b": "former; at that time",
    r"\bof now\b": "present; as it is now",
    r"\bof those days\b": "former",
    r"\bheed(s|ed|ing)?\b": "obey; use; follow",
    r"\bwho(m|so)?ever\b": "anyone who; no matter who",
    r"\bleave [\w ]{1,20} away\b": "leave out; drop",
    r"\banew\b": "again",
    r"\b(thereof|therein|whereof|wherein|hereof|therewith)\b": "of it; in it",
    r"\bspeaks? of a row\b": "refers to a row",
    r"\b(go(es)?|going|went) on where it was\b": "continue where it stopped",
    r"\b(go(es)?|going) on (from|with --resume)": "continue from; continue with --resume",
    r"\bcome to its end\b": "finish; complete",
    r"\bread to its end\b": "read completely",
    r"\bon its way to another\b": "being migrated to another",
    r"\bnot so:": "which these break:",
    r"\bstands? beside (each|it|the)\b": "is stored with",
    r"\bmend(s|ed|ing)?\b": "repair; correct; fix",
    r"\bcannot be told\b(?! apart)": "is unclear",
    r"\btold otherwise\b": "unless an option says otherwise",
    r"\bnot a single\b": "no",
    r"\b(has|have) not one\b": "has no",
    r"\bis no (ledger|number|person|folder|value|key|response|config) (of|that)\b": "is not a",
    r"\bas it was (then|written)\b": "unchanged since it was written",
    r"\blooks? at no\b": "uses no",
    r"\bmakes? them of\b": "converts",
    r"\bup to below\b": "at least ... and below",
    r"\bin whatever (order|scan)\b": "in any",
    r"\bbe parted\b|\bis parted\b|\bare parted\b": "be split",
    r"\bcheck sums?\b": "checksum",
    r"\bof one's own\b": "your own",
    r"\btaken for each other\b": "confused with each other",
}


def found_in(text: str) -> list[str]:
    """Banned phrases of a text, each with what to write instead."""
    flat = re.sub(r"""["']?\s*\n\s*[#>*-]?\s*f?["']?""", " ", text)  # a phrase may span two lines
    flat = re.sub(r"\s+", " ", flat)
    found = []
    for pattern, instead in BANNED.items():
        for match in re.finditer(pattern, flat, re.IGNORECASE):
            around = flat[max(match.start() - 40, 0) : match.end() + 20]
            found.append(f"...{around}... (write: {instead})")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_banned_phrase_is_used(path):
    assert found_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "a class that there is not",
        "Leave the option away",
        'f"take the class list of "\n        f"then"',
        "the file is mended",
        "answers heed\nthe order",
        "# to be labelled\n    # anew",
    ],
)
def test_a_banned_phrase_is_seen(text):
    assert len(found_in(text)) == 1


def test_plain_words_pass():
    assert found_in("The recommended order of the options: of, then --by. Amend the file.") == []
