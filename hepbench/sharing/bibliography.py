"""Turns references as plugins write them into entries of BibTeX. Pure.

``Baldi, Sadowski and Whiteson, Nature Communications 5, 4308 (2014), arXiv:1402.4735; ...``: authors,
where it was published, identifiers; several are separated by semicolons.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAME = r"[^\W\d_][\w'\u2019-]*"

_AUTHORS = re.compile(
    rf"^(?:[^,]* as in )?({_NAME}(?:, {_NAME})* and {_NAME}|{_NAME} et al\.|{_NAME})(?=,| \()"
)

_ARXIV = re.compile(r"\barXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})")

_DOI = re.compile(r"(?:\bdoi:|https?://doi\.org/)(10\.[^\s,;{}]+)")

_URL = re.compile(r"https?://(?!doi\.org/)[^\s,;{}]+")

_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A publication, as far as a reference describes it.

    Attributes:
        authors: last names; ``others`` stands for those that are not named.
        words: where it was published, or its title: what is neither author nor identifier.
        year: "" if it is not known.
        arxiv, doi, url: identifiers; "" if there is none.
        cited: what it is cited for.
    """

    authors: tuple[str, ...]
    words: str
    year: str
    arxiv: str
    doi: str
    url: str
    cited: tuple[str, ...] = field(default=())

    @property
    def is_citable(self) -> bool:
        """Whether a reader could find it."""
        return bool(self.arxiv or self.doi or (self.authors and (self.url or self.year)))

    def is_same(self, other: Publication) -> bool:
        """Whether another one has the same identifier, or authors and year if one has none.

        Without authors, the words must be the same.
        """
        mine, its = ({p.arxiv, p.doi, p.url} - {""} for p in (self, other))
        if mine and its:
            return bool(mine & its)
        if not self.authors and not other.authors and not mine and not its:
            return self.words == other.words
        return bool(self.authors) and (self.authors, self.year) == (other.authors, other.year)


def publication(text: str, cited: str) -> Publication:
    """Read one reference."""
    text = " ".join(text.split())
    arxiv, doi, url = (
        found[found.re.groups] if found else ""
        for found in (pattern.search(text) for pattern in (_ARXIV, _DOI, _URL))
    )
    named = _AUTHORS.match(text)
    authors = re.split(r", | and ", named[1].replace(" et al.", " and others")) if named else []
    if not all(author[0].isupper() or author == "others" for author in authors):
        named, authors = None, []
    words = text[named.end() :] if named else text
    # what follows an identifier is a remark
    ends = [m.start() for p in (_ARXIV, _DOI, _URL) if (m := p.search(words))]
    words = words[: min(ends, default=len(words))].strip(" ,")
    years = _YEAR.findall(_ARXIV.sub("", words))
    return Publication(
        authors=tuple(authors),
        words=words,
        year=years[-1] if years else _year_of(arxiv),
        arxiv=arxiv,
        doi=doi,
        url=url,
        cited=(cited,),
    )


def _year_of(arxiv: str) -> str:
    """Return the year in which an article got its number in arXiv; old numbers name a field."""
    digits = arxiv.rpartition("/")[2][:2]
    if not digits:
        return ""
    return f"{'19' if '/' in arxiv and digits > '90' else '20'}{digits}"


def publications(references: Iterable[tuple[str, str]]) -> list[Publication]:
    """Return all publications in references, each once, with everything that it is cited for.

    Args:
        references: what is cited for, and the text.
    """
    found: list[Publication] = []
    for cited, text in references:
        for part in filter(str.strip, text.split(";")):
            new = publication(part, cited)
            same = next((i for i, each in enumerate(found) if each.is_same(new)), None)
            if same is None:
                found.append(new)
            else:
                found[same] = _joined(found[same], new)
    return found


def _joined(first: Publication, second: Publication) -> Publication:
    """Return one publication with all that two references contain."""
    has_more = bool(second.arxiv or second.doi) and not (first.arxiv or first.doi)
    best = second if has_more or (second.words and not first.words) else first
    return replace(
        best,
        arxiv=first.arxiv or second.arxiv,
        doi=first.doi or second.doi,
        cited=tuple(dict.fromkeys([*first.cited, *second.cited])),
    )


def bibtex(found: Iterable[Publication]) -> str:
    """Return entries of BibTeX, with what each is cited for; what cannot be cited is a comment."""
    taken: set[str] = set()
    entries, comments = [], []
    for each in found:
        cited = " ".join(", ".join(each.cited).split())
        if each.is_citable:
            key = next(k for k in _keys(each) if k not in taken)
            taken.add(key)
            lines = [f"  {name} = {{{value}}}," for name, value in _fields(each) if value]
            entries.append("\n".join([f"% {cited}", f"@misc{{{key},", *lines, "}"]))
        else:
            text = ", ".join(filter(None, [*each.authors, each.words, each.url]))
            comments.append(f"% {cited}: no publication: {text}")
    return "\n\n".join([*entries, "\n".join(comments)]).strip() + "\n"


def _fields(each: Publication) -> Iterator[tuple[str, str]]:
    if each.authors:
        yield "author", _escaped(" and ".join(each.authors))
        yield "howpublished", _escaped(each.words)
    else:
        yield "title", f"{{{_escaped(each.words)}}}"
    yield "year", each.year
    if each.arxiv:
        yield "eprint", each.arxiv
        yield "archiveprefix", "arXiv"
    yield "doi", each.doi
    yield "url", each.url


def _keys(each: Publication) -> Iterator[str]:
    """Yield keys for an entry: ``Baldi2014``, ``Baldi2014a``, ..."""
    word = each.authors[0] if each.authors else each.words.partition(" ")[0]
    ascii_only = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode()
    name = re.sub(r"\W", "", ascii_only) or "reference"
    yield f"{name}{each.year}"
    for n in count():
        yield f"{name}{each.year}{'abcdefghijklmnopqrstuvwxyz'[n % 26] * (n // 26 + 1)}"


def _escaped(text: str) -> str:
    """Escape what LaTeX reads as a command."""
    text = re.sub(r"[\\{}]", " ", text)
    return re.sub(r"([&%$#_])", r"\\\1", text).replace("~", r"\~{}").replace("^", r"\^{}")
