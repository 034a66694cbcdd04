"""YAML text → nodes that know their line and column. Meaning comes later; bounds come here (I9).

ruamel.yaml's parser gives the events. Nodes are built from them here and not by its composer, because that stops at the
first duplicate key, recurses as deep as the file says and expands what a hostile file tells it to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from typing import TypeAlias

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml import events as ev
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from gateway.config.problems import Mark, Problems, UnreadableError, join, quote

MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 12
"""A venue with a hundred gates needs 40 kB, 3000 nodes and a depth of five."""

START = Mark(1, 1)
MERGE_KEY = "<<"

Value: TypeAlias = str | int | float | bool | None


class Scalar(msgspec.Struct, frozen=True):
    """One value; `text` is how it is written."""

    mark: Mark
    value: Value
    text: str
    size: int = 1


class Listing(msgspec.Struct, frozen=True):
    """A YAML sequence."""

    mark: Mark
    items: tuple[Node, ...]
    size: int


class Entry(msgspec.Struct, frozen=True):
    """A key's place and its value."""

    key_mark: Mark
    node: Node


class Mapping(msgspec.Struct, frozen=True):
    """A YAML mapping, in the order of the file; keys are as written."""

    mark: Mark
    entries: dict[str, Entry]
    size: int


class Broken(msgspec.Struct, frozen=True):
    """A value that a problem has already been noted for."""

    mark: Mark
    size: int = 1


Node: TypeAlias = Scalar | Listing | Mapping | Broken


def parse(text: str, problems: Problems) -> Node:
    """Return the file's one document; raises UnreadableError, its reason among the problems, when it is no YAML."""
    return _Builder(text, problems).document()


def decode(data: bytes, problems: Problems) -> str:
    """Return the file's text: UTF-8, or UTF-16 with its mark. A byte order mark at the start is no part of it."""
    if len(data) > MAX_BYTES:
        problems.add(START, "", f"the file is larger than {MAX_BYTES // 1024} kB; a configuration is a few pages")
        raise UnreadableError
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-16" if wide else "utf-8-sig", "replace")
        problems.add(_place(before), "", "this is not UTF-8 text; save the file as UTF-8 in the editor")
        raise UnreadableError from None


def _place(before: str) -> Mark:
    """Return the place of the character that follows the text `before`."""
    lines = re.split(r"\r\n|[\r\n]", before)
    return Mark(len(lines), len(lines[-1]) + 1)


class _Builder:
    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._last = START
        self._size = 0
        self._anchors: dict[str, Node | None] = {}
        self._events = self._checked_events()

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, ev.DocumentStartEvent):
                if root is not None:
                    raise self._stopped(
                        _mark(event), "a second document begins here; one file is one venue: remove the `---`"
                    )
                root = self._node(next(self._events), "", 0)
        if root is None:
            raise self._stopped(START, "the file is empty; begin with `venue:` as in the examples")
        return root

    def _checked_events(self) -> Iterator[ev.Event]:
        try:
            for event in YAML(typ="safe", pure=True).parse(self._text):
                self._last = _mark(event)
                yield event
        except MarkedYAMLError as error:
            raise self._stopped(*_explain(error, self._last)) from None
        except ReaderError as error:
            where = _place(self._text[: error.position])
            raise self._stopped(where, "a control character stands here that YAML does not allow; delete it") from None
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError):
            # The parser's own slips over odd input, such as "\UFFFFFFFF".
            raise self._stopped(
                self._last, "this is not YAML the gateway can read; look at what follows here"
            ) from None

    def _node(self, event: ev.Event, path: str, depth: int) -> Node:
        self._grow(1, _mark(event))
        if depth > MAX_DEPTH:
            raise self._stopped(
                _mark(event), f"nested deeper than {MAX_DEPTH} levels; look for brackets left open", path
            )
        if isinstance(event, ev.AliasEvent):
            return self._alias(event, path)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        node = self._content(event, path, depth)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _content(self, event: ev.Event, path: str, depth: int) -> Node:
        if isinstance(event, ev.MappingStartEvent):
            return self._mapping(event, path, depth)
        if isinstance(event, ev.SequenceStartEvent):
            return self._listing(event, path, depth)
        if isinstance(event, ev.ScalarEvent):
            return self._scalar(event, path)
        raise self._stopped(_mark(event), "a value is missing here", path)

    def _alias(self, event: ev.AliasEvent, path: str) -> Node:
        name, mark = str(event.anchor), _mark(event)
        node = self._anchors.get(name)
        if node is None:
            inside = name in self._anchors
            why = "stands inside what it repeats" if inside else f"has no anchor `&{name}` before it"
            self._problems.add(mark, path, f"the alias `*{name}` {why}")
            return Broken(mark)
        self._grow(node.size, mark)
        return node

    def _grow(self, size: int, mark: Mark) -> None:
        self._size += size
        if self._size > MAX_NODES:
            raise self._stopped(
                mark, f"the file has more than {MAX_NODES} values, aliases written out; that is no venue"
            )

    def _listing(self, event: ev.Event, path: str, depth: int) -> Node:
        items: list[Node] = []
        for each in self._events:
            if isinstance(each, ev.SequenceEndEvent):
                break
            items.append(self._node(each, f"{path}[{len(items)}]", depth + 1))
        return Listing(_mark(event), tuple(items), 1 + sum(item.size for item in items))

    def _mapping(self, event: ev.Event, path: str, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        size = 1
        for each in self._events:
            if isinstance(each, ev.MappingEndEvent):
                break
            key_mark, key = _mark(each), self._key(each, path, depth)
            node = self._node(next(self._events), join(path, key) if key else path, depth + 1)
            size += 1 + node.size
            if key == MERGE_KEY:
                self._merge(node, merged, path)
            elif key is not None:
                self._enter(entries, key, Entry(key_mark, _after_key(node, key_mark)), path)
        return Mapping(_mark(event), merged | entries, size)

    def _key(self, event: ev.Event, path: str, depth: int) -> str | None:
        node = self._node(event, path, depth + 1)
        if isinstance(node, Scalar) and node.text:
            return node.text
        if not isinstance(node, Broken):
            self._problems.add(_mark(event), path, "a key must be a plain word; write `key: value`")
        return None

    def _enter(self, entries: dict[str, Entry], key: str, entry: Entry, path: str) -> None:
        if key in entries:
            first = entries[key].key_mark.line
            self._problems.add(
                entry.key_mark, join(path, key), f"this key stands in line {first} already; keep one of them"
            )
        else:
            entries[key] = entry

    def _merge(self, node: Node, merged: dict[str, Entry], path: str) -> None:
        sources = node.items if isinstance(node, Listing) else (node,)
        for source in sources:
            if isinstance(source, Mapping):
                for key, entry in source.entries.items():
                    merged.setdefault(key, entry)
            elif not isinstance(source, Broken):
                self._problems.add(node.mark, path, "`<<` takes in a mapping; write `<<: *name` with its anchor's name")

    def _scalar(self, event: ev.ScalarEvent, path: str) -> Node:
        mark, text = _mark(event), str(event.value)
        tag = str(event.tag) if event.tag else None
        if not _is_text(text):
            self._problems.add(mark, path, "this text has half a character in it (a surrogate); write it out")
            return Broken(mark)
        if tag in {"tag:yaml.org,2002:str", "!"} or (tag is None and not event.implicit[0]):
            return Scalar(mark, text, text)
        if tag is not None:
            self._problems.add(mark, path, f"the tag {quote(tag)} means nothing here; leave it out")
            return Broken(mark)
        return Scalar(mark, resolve(text), text)

    def _stopped(self, mark: Mark, message: str, path: str = "") -> UnreadableError:
        self._problems.add(mark, path, message)
        return UnreadableError()


_INT = re.compile(r"[-+]?[0-9]{1,30}|0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def resolve(text: str) -> Value:
    """Return what an unquoted YAML 1.2 scalar stands for; infinities and not-a-number stay text."""
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text) and isfinite(number := float(text)):
        return number
    return text


def _is_text(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _after_key(node: Node, key_mark: Mark) -> Node:
    """An empty value has its place wherever the next token is; people look for it at its key."""
    if isinstance(node, Scalar) and not node.text and node.value is None:
        return Scalar(key_mark, None, "")
    return node


def _mark(event: ev.Event) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start is not None else START


def _explain(error: MarkedYAMLError, fallback: Mark) -> tuple[Mark, str]:
    """Return where and what; only the parser's words, never the line itself, which may hold a secret (I12)."""
    mark = error.problem_mark or error.context_mark
    where = Mark(mark.line + 1, mark.column + 1) if mark is not None else fallback
    what = " ".join(str(error.problem or error.context or "this is not YAML").split())
    if "'\\t'" in what:
        return where, "a tab stands here; indent with spaces"
    if "mapping values are not allowed" in what:
        return where, "a `:` stands where none can; check the indentation above, or put the value in quotes"
    context = f" {' '.join(str(error.context).split())}" if error.problem and error.context else ""
    begun = f" that begins in line {error.context_mark.line + 1}" if context and error.context_mark is not None else ""
    return where, f"not valid YAML{context}{begun}: {what}"
