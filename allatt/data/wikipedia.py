"""From a MediaWiki dump to WikiText's format: prose only, punctuation apart, ` = Title = ` before each article.

gensim reads the dump and strips most markup. It throws away every template, though, also those that print something
("{{convert|30|cm|in}}"), and it leaves headings, quote marks, bullets and table cells; the rules here mend that.
The same text must come out on every machine: nothing here may depend on time, order of a set, or locale.
"""

from __future__ import annotations

import bz2
import re
from collections.abc import Iterator
from pathlib import Path

from allatt.data.wikitext import tokenize

# Stands for a formula while markup is removed; no article holds this private-use character.
FORMULA = "\ue000"
SHORTEST = 150
"""Articles with fewer words than this are dropped (redirects, disambiguation pages, stubs)."""

_DROPPED_SECTIONS = {
    "bibliography", "citations", "external links", "footnotes", "further reading", "gallery", "notes", "references",
    "see also", "sources", "works cited", "notes and references", "references and notes", "general references",
    "primary sources", "secondary sources", "tertiary sources", "filmography", "discography", "image gallery",
}
_UNITS = {"mi": "miles", "sqmi": "square miles", "sqkm": "km^2", "km2": "km^2", "m2": "m^2", "km3": "km^3", "m3": "m^3",
          "ft": "feet", "in": "inches", "yd": "yards", "nmi": "nautical miles", "kn": "knots", "lb": "pounds",
          "oz": "ounces", "ST": "short tons", "t": "tonnes", "acre": "acres", "ha": "hectares", "sqft": "square feet",
          "cuft": "cubic feet", "cuyd": "cubic yards", "U.S.gal": "gallons", "USgal": "gallons", "impgal": "gallons",
          "F": "°F", "C": "°C"}
_TO = {"-": "–", "–": "–", "to": " to ", "and": " and ", "or": " or ", "x": " × ", "by": " × ", "+/-": " ± "}
_ALWAYS = {"'s": "'s", "'": "'", "nbsp": " ", "spaces": " ", "snd": " – ", "spnd": " – ", "ndash": "–", "mdash": "—",
           "spaced ndash": " – ", "mdashb": "—", "·": " · ", "•": " · ", "dot": " · ", "!": "|", "=": "="}
# Templates that print their first argument, and those that print their last.
_FIRST = {"abbr", "angbr", "big", "blockquote", "code", "cquote", "em", "ipa", "key", "keypress", "math", "mono",
          "mvar", "nihongo", "nobold", "noitalic", "nowrap", "quotation", "quote", "quote box2", "sans-serif", "sc",
          "serif", "small", "smallcaps", "smaller", "strong", "tooltip", "unicode", "vanchor", "var", "visible anchor"}
_LAST = {"lang", "transl", "script", "resize", "color", "linktext", "asiantitle", "polytonic", "font", "grc", "sup",
         "iw2", "wikt-lang", "transliteration"}


def articles(dump: Path) -> Iterator[tuple[str, list[str]]]:
    """Title and lines (headings and paragraphs, tokenized) of each article of a bzip2 dump, in its order.

    Redirects, pages outside the article namespace and articles of fewer than SHORTEST words are left out.
    """
    from gensim.corpora.wikicorpus import extract_pages

    with bz2.open(dump, "rb") as file:
        for title, wikitext, _ in extract_pages(file, filter_namespaces=("0",)):
            if re.match(r"\s*#redirect", wikitext, re.IGNORECASE) or title.startswith("Wikipedia:"):
                continue
            if re.search(r"\{\{\s*(disambig|hndis|geodis)", wikitext, re.IGNORECASE):
                continue
            lines = [tokenize(line) for line in plain(wikitext)]
            if sum(len(line.split()) for line in lines) >= SHORTEST:
                yield tokenize(title), lines


def plain(wikitext: str) -> list[str]:
    """Headings ("= = History = =") and paragraphs of an article's source, without markup, not yet tokenized."""
    from gensim.corpora.wikicorpus import filter_wiki

    text = _without_tags(wikitext)
    text = _without_links_and_templates(text)
    text = _without_tables(text)
    text = filter_wiki(text)
    return _without_hollow_sections([line for line in map(_line, _paragraphs(text)) if line])


def _without_tags(text: str) -> str:
    """Comments, footnotes and blocks that hold no prose go; formulas and raised text become characters."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<ref\b[^<>]*/>", "", text, flags=re.IGNORECASE)
    blocks = r"<(ref|gallery|source|syntaxhighlight|timeline|pre|imagemap|score)\b[^<>]*>.*?</\1\s*>"
    text = re.sub(blocks, "", text, flags=re.DOTALL | re.IGNORECASE)
    text = re.sub(r"<math\b[^<>]*>.*?</math>", FORMULA, text, flags=re.DOTALL)
    text = re.sub(r"<nowiki\s*/?>|</nowiki>", "", text)
    text = re.sub(r"<br\s*/?\s*>|&nbsp;|&thinsp;|&ensp;|&emsp;|\u00a0", " ", text, flags=re.IGNORECASE)
    text = re.sub(r"</?(blockquote|poem|center|div|p|li|ol|ul)\b[^<>]*>", "\n\n", text, flags=re.IGNORECASE)
    return re.sub(r"(?<=[\w)])<sup>([-−]?\d+|[a-z])</sup>", r"^\1 ", text)


def _without_links_and_templates(text: str) -> str:
    """Innermost first: a link becomes what it shows, a template what it prints (often nothing)."""
    while True:
        before = text
        text = re.sub(r"\[\[((?:(?!\[\[|\]\])[^{}])*)\]\]", _link, text)
        text = re.sub(r"\{\{((?:(?!\[\[)[^{}])*)\}\}", _template, text)
        if text == before:
            text = re.sub(r"\{\{[^{}]*\}\}", "", text)
        if text == before:
            return text


def _link(match: re.Match) -> str:
    target, _, shown = match[1].partition("|")
    if re.match(r"\s*(file|image|category|media|[a-z]{2,3}(-[a-z]+)?)\s*:\S", target, re.IGNORECASE):
        return ""
    return shown.split("|")[-1] or target.lstrip(":").split("#")[0] or target


def _template(match: re.Match) -> str:
    """What a template prints in running text; infoboxes, citations, notes and all the rest print nothing."""
    name, *arguments = [part.strip() for part in match[1].split("|")]
    name = name.replace("_", " ").lower()
    named = {key.strip(): value.strip() for key, _, value in (a.partition("=") for a in arguments) if _}
    given = [re.sub(r"^1\s*=\s*", "", a) for a in arguments if not re.match(r"[A-Za-z_-]+\d*\s*=|[2-9]\s*=", a)]
    if name in _ALWAYS:
        return _ALWAYS[name]
    if not given:
        return ""
    if name in _FIRST:
        return given[0]
    if name in _LAST or re.fullmatch(r"lang-[a-z-]+", name):
        return given[0] if name.startswith("lang-") else given[-1]
    if name in ("convert", "cvt"):
        return _converted(given)
    if name in ("chem", "chem2"):
        return "".join(given)
    if name == "val":
        return " ".join([given[0], *([named["u"]] if "u" in named else [])])
    if name in ("frac", "fraction", "sfrac"):
        return {1: "1/{0}", 2: "{0}/{1}"}.get(len(given), "{0} {1}/{2}").format(*given)
    if name in ("as of", "asof"):
        return ("as of " if "lc" in named else "As of ") + given[0]
    if name in ("simplenuclide", "simplenuclide2"):
        return "-".join(given[:2])
    if name in ("circa", "c."):
        return "c. " + given[0]
    if name in ("uss", "hms", "ss"):
        return f"{name.upper()} {given[0]}"
    if name.startswith("formatnum:"):
        return name.removeprefix("formatnum:")
    return ""


def _converted(given: list[str]) -> str:
    """"30 inches" of {{convert|30|in|cm}}, "5–6 km" of {{convert|5|-|6|km}}: the number as the writer gave it."""
    shown = given[0]
    rest = given[1:]
    while len(rest) >= 2 and rest[0] in _TO:
        shown += _TO[rest[0]] + rest[1]
        rest = rest[2:]
    unit = rest[0] if rest else ""
    shown = re.sub(r"\d{4,}(?!\d)", lambda number: f"{int(number[0]):,}", shown) if "," not in shown else shown
    return f"{shown} {_UNITS.get(unit, unit)}".strip()


def _without_tables(text: str) -> str:
    """Lines from "{|" to the "|}" that closes it, nested ones too; and stray cells."""
    kept, depth = [], 0
    for line in text.split("\n"):
        start = line.lstrip(" :*")
        if start.startswith("{|"):
            depth += 1
        elif depth and start.startswith("|}"):
            depth -= 1
        elif not depth and not start.startswith(("|", "!")):
            kept.append(line)
        elif depth and start.startswith("=="):
            # A heading cannot stand in a table: its end is missing.
            depth = 0
            kept.append(line)
    return "\n".join(kept)


def _paragraphs(text: str) -> Iterator[str]:
    """Lines that the page shows as one paragraph, joined; headings and list items stay lines of their own."""
    held: list[str] = []
    for line in [*text.split("\n"), ""]:
        alone = line.lstrip().startswith(("=", "*", "#", ":", ";"))
        if held and (alone or not line.strip()):
            yield " ".join(held)
            held = []
        if alone:
            yield line
        elif line.strip():
            held.append(line)


def _line(line: str) -> str:
    """One line of filtered text as a heading, a paragraph, or "" where nothing worth reading is left."""
    line = line.replace(FORMULA, " <formula> ").replace("\u2009", " ").replace("\u202f", " ")
    line = re.sub(r"'{2,}|__[A-Z]+__|[\u200b\u200e\u200f\ufeff\u00ad]", "", line)
    line = re.sub("[“”„«»]", '"', re.sub("[‘’´`]", "'", line)).replace("\u2010", "-").replace("\u2011", "-")
    heading = re.fullmatch(r"\s*(={2,6})\s*(.*?)\s*\1\s*", line)
    if heading:
        marks = " ".join(heading[1])
        return f"{marks} {heading[2]} {marks}" if heading[2] else ""
    bullet = re.match(r"\s*[*#:;]+\s*", line)
    line = re.sub(r"\s+", " ", line[bullet.end():] if bullet else line).strip()
    # What templates leave behind: "( ; born 1879 )", "( , )", " ,".
    line = re.sub(r"\(\s*(?:(?:[;,:/]|or|and)\s*)*\s*(?=\S)", "(", line)
    line = re.sub(r"[\s;,:]*\)", ")", line)
    line = re.sub(r"\s*\(\)|\s*\[\]|\"\"", "", line)
    line = re.sub(r"\s+([,.;:](?:\s|$))", r"\1", line)
    line = re.sub(r"([,;:])(?:\s*[,;])+", r"\1", line)
    line = re.sub(r"\.(?: ?\.){2,}", "...", re.sub(r"^[,;:.)] ?(?![.\d])", "", line))
    words = len(re.findall(r"\w+", line))
    fewest = 8 if bullet and not line.endswith((".", ";", ",", ":")) else 4
    if re.search(r"https?://|www\.|\bISBN\b|\bISSN\b|\bdoi:", line) or line.startswith("=") or words < fewest:
        return ""
    return line


def _without_hollow_sections(lines: list[str]) -> list[str]:
    """Drop sections of links and sources, and headings under which nothing is left."""
    kept: list[str] = []
    skipped = 0
    for line in lines:
        level = _level(line)
        if level and (not skipped or level <= skipped):
            skipped = level if line.strip("= ").lower() in _DROPPED_SECTIONS else 0
        if not skipped:
            while level and kept and _level(kept[-1]) >= level:
                kept.pop()
            kept.append(line)
    while kept and _level(kept[-1]):
        kept.pop()
    return kept


def _level(line: str) -> int:
    """2 for "= = History = =", 3 for a heading below it; 0 for a paragraph."""
    match = re.match(r"(?:= )+", line)
    return len(match[0]) // 2 if match else 0
