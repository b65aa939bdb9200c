"""Masking of what defines containers: compose files and systemd units. Line by line, and rather too much.

Standard library only and Python 3.8, like the probe. Every masked character is replaced by one character,
so that positions hold; in YAML it is one that may stand anywhere, so that the text still parses.
"""

from __future__ import annotations

import re
from typing import Any, Callable

MASK = "\u2022"
_SECRET_KEYS = ("environment", "args", "content")
_KEY = r"""["']?[\w.<-][\w .<>/-]{0,200}["']?"""
_ANCHORED = r"(?:[&!][^\s,\[\]{}]*(?:\s+|$))*"
_OPENING = re.compile(
    r"""^(\s*(?:-\s+)*)["']?(?:%s)["']?\s*:(?=\s|$)(\s*%s)(.*)$""" % ("|".join(_SECRET_KEYS), _ANCHORED)
)
_ANCHOR = re.compile(r"^(\s*(?:-\s+)*)(?:%s\s*:\s+)?&([^\s,\[\]{}]+)(\s*)(.*)$" % _KEY)
_INLINE = r"""(?:^|[\s{,])["']?(?:environment|args)["']?\s*:\s*%s(?=[\[{])""" % _ANCHORED
_ENTRY = re.compile(r"^(\s*(?:-\s+)*%s\s*:)(?=\s|$)(\s*%s)(.*)$" % (_KEY, _ANCHORED))
_ITEM = re.compile(r"""^(\s*-\s+)(["']?)([A-Za-z_][\w.-]*)(=?)(.*)$""")
_ALIASES = re.compile(r"\*[\w.-]+\s*|\[[\s*\w,.-]*\]\s*")
_UPPER = re.compile(r"""^(\s*(?:-\s+)*["']?[A-Z][A-Z0-9_]*["']?\s*:\s+%s)(?![&!])(\S.*)$""" % _ANCHORED)
_UPPER_ITEM = re.compile(r"""^\s*(?:#\s*)?-\s+["']?[A-Z][A-Z0-9_]*=""")
_NAMED = re.compile(
    r"""^(\s*(?:-\s+)*["']?(?!secrets["']?\s*:)[\w.-]{0,99}"""
    r"""(?:token|passw|secret|credential|api[-_]?key|access[-_]?key)[\w.-]{0,99}["']?\s*:\s+)(\S.*)$""",
    re.IGNORECASE,
)


def _hide(text: str) -> str:
    return re.sub(r"\S", MASK, text)


def _value(text: str) -> str:
    """A value as it is where it is only aliases, else masked; of a comment the sign stays."""
    if text.lstrip().startswith("#"):
        start = text.index("#") + 1
        return text[:start] + _hide(text[start:])
    return text if _ALIASES.fullmatch(text) else _hide(text)


def _entry(line: str, aliases: set[str]) -> str:
    """One line of a block of variables: names stay, values go."""
    if line.lstrip().startswith("#"):
        return _value(line)
    item = _ITEM.match(line)
    if item and (item.group(4) or item.group(5).strip() in ("", item.group(2))):
        head, quote, name, equals, rest = item.groups()
        if not equals:
            return line
        closed = re.match(r"(.*)%s(\s*|\s+#.*)$" % quote, rest) if quote else None
        if closed:
            inner, after = closed.groups()
            return head + quote + name + equals + _hide(inner) + quote + _value(after)
        return head + _hide(quote) + name + equals + _hide(rest)
    found = _ENTRY.match(line)
    if found:
        aliases.update(re.findall(r"\*([\w.-]+)", found.group(3)))
        return found.group(1) + found.group(2) + _value(found.group(3))
    return _hide(line)


def _flow_end(text: str, at: int) -> int:
    """The position after the bracket that closes the one at `at`; the end of the text where none does."""
    depth, quote = 0, ""
    while at < len(text):
        one = text[at]
        if quote:
            if one == "\\" and quote == '"':
                at += 1
            elif one == quote:
                quote = ""
        elif one in "\"'" and text[at - 1] in " \t\n:,[{":
            quote = one
        elif one in "[{":
            depth += 1
        elif one in "]}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return len(text)


def _flows(text: str, anchors: set[str], aliases: set[str]) -> str:
    """The text without what stands between the brackets of variables, also of those that `anchors` name."""
    named = "|".join(map(re.escape, sorted(anchors)))
    pattern = re.compile(_INLINE + (r"|&(?:%s)\s+(?=[\[{])" % named if named else ""))
    at = 0
    while True:
        found = pattern.search(text, at)
        if not found:
            return text
        end = _flow_end(text, found.end())
        inner = text[found.end() + 1 : end - 1]
        aliases.update(re.findall(r"\*([\w.-]+)", inner))
        text = text[: found.end() + 1] + _hide(inner) + text[end - 1 :]
        at = end


def _lines(text: str, anchors: set[str], aliases: set[str]) -> str:
    """The text with the blocks masked that hold variables, and those that `anchors` name."""
    result = []
    column = entries = None  # where the key of the block stands, and its entries
    for line in text.split("\n"):
        bare = line.rstrip("\r")
        end = line[len(bare) :]
        indent = len(bare) - len(bare.lstrip(" "))
        if column is not None and bare.strip():
            inside = indent > column or (indent == column and bare[indent:].startswith("- "))
            if not inside and not bare.lstrip().startswith("#"):
                column = entries = None
            elif not inside or bare.lstrip().startswith("#"):
                result.append(_entry(bare, aliases) + end)
                continue
            else:
                entries = indent if entries is None else entries
                result.append((_entry(bare, aliases) if indent == entries else _hide(bare)) + end)
                continue
        result.append(_opening(bare, anchors, aliases) + end)
        opened = _opens(bare, anchors)
        if opened is not None:
            column, entries = opened
    return "\n".join(result)


def _opens(line: str, anchors: set[str]) -> tuple[int, int | None] | None:
    """The column of the key whose block a line opens, and -1 for entries where none of it is kept."""
    found = _OPENING.match(line)
    if found:
        first = found.group(3).strip()[:1]
        return None if first in ("{", "[") else (len(found.group(1)), None if first in ("", "#") else -1)
    named = _ANCHOR.match(line)
    if named and named.group(2) in anchors:
        first = named.group(4).strip()[:1]
        return None if first in ("{", "[") else (len(named.group(1)), None if first in ("", "#") else -1)
    upper = _UPPER.match(line) or _NAMED.match(line)
    if upper and not _ALIASES.fullmatch(upper.group(2)):
        return len(re.match(r"\s*(?:-\s+)*", line).group()), -1  # type: ignore[union-attr]
    return None


def _opening(line: str, anchors: set[str], aliases: set[str]) -> str:
    """A line outside of blocks of variables, without the value that it may itself have."""
    found = _OPENING.match(line)
    if found:
        rest = found.group(3)
        aliases.update(re.findall(r"^\*([\w.-]+)", rest))
        return line if rest[:1] in ("{", "[") else line[: len(line) - len(rest)] + _value(rest)
    named = _ANCHOR.match(line)
    if named and named.group(2) in anchors:
        rest = named.group(4)
        return line if rest[:1] in ("{", "[") else line[: len(line) - len(rest)] + _value(rest)
    if _UPPER_ITEM.match(line):
        start = line.index("=") + 1
        quote = line[: start - 1].rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")[-1:]
        ends = quote in "\"'" and line.rstrip().endswith(quote) and len(line.rstrip()) > start
        stop = len(line.rstrip()) - 1 if ends else len(line)
        head = line[:start] if ends or quote not in "\"'" else line[:start].replace(quote, MASK)
        return head + _hide(line[start:stop]) + line[stop:]
    for pattern in (_UPPER, _NAMED):
        upper = pattern.match(line)
        if upper:
            return upper.group(1) + _value(upper.group(2))
    return line


def mask_compose(text: str, mask: Callable[[str, str], str]) -> str:
    """A compose file without the values of variables, and without what `mask` (text, character) hides.

    Also masked: build arguments, contents of configs, blocks that variables are merged from, and every
    value of a name in capitals. What it cannot follow it masks to the end.
    """
    anchors: set[str] = set()
    for _ in range(8):  # aliases lead to anchors, whose blocks may merge others
        aliases: set[str] = set()
        masked = _lines(_flows(text, anchors, aliases), anchors, aliases)
        if aliases <= anchors:
            break
        anchors |= aliases
    return mask(masked, MASK)


# --- units ------------------------------------------------------------------------------------------

_WORD = r"""(?:"(?:\\[\s\S]|[^"\\])*"|'(?:\\[\s\S]|[^'\\])*'|\\[^\n]|[^\s"'\\])*"""
_ENV = re.compile(
    r"""((?:^|\s)(?:-[A-Za-z]*e|--env)(?:\s*=\s*|\s+|\s*\\\n\s*)?)"""
    r"""(?:(["'])([A-Za-z_][\w.-]*=)((?:\\[\s\S]|(?!\2)[^\\])*)(?=\2)|([A-Za-z_][\w.-]*=)(%s))""" % _WORD
)
_ENVIRONMENT = re.compile(r"^(\s*Environment\s*=)((?:[^\n]*\\\r?\n)*[^\n]*)", re.MULTILINE)


def _starred(text: str) -> str:
    """Text masked but for what tells words apart: white space, quotes, backslashes."""
    return re.sub(r"""[^\s\\"']""", "*", text)


def _env(match: Any) -> str:
    head, quote, quoted, inner, name, value = match.groups()
    if quote:
        return str(head + quote + quoted) + _starred(inner)
    return str(head + name) + _starred(value)


def mask_unit(text: str, mask: Callable[[str, str], str]) -> str:
    """A unit without the values of variables in its command lines and Environment= lines."""
    text = _ENV.sub(_env, text)
    text = _ENVIRONMENT.sub(lambda one: one.group(1) + _starred(one.group(2)), text)
    return mask(text, "*")
