"""Nodes → values of msgspec types, with every problem noted in its place.

msgspec stops at the first mistake and knows no lines, so its types are walked here, field by field. Ranges and patterns
come from the types' own `Meta`; its `extra={"expected": …}` says in words what is right where a pattern says it badly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import inspect

from gateway.config.problems import Mark, Problems, advice, join, listed, plain, quote
from gateway.config.tree import Broken, Listing, Mapping, Node, Scalar, resolve


class _Invalid:
    """The one value that is none; its problem has been noted."""


INVALID: Final = _Invalid()

_SECRET = re.compile(r"(^|_)(password|passwd|passphrase|secret|token|api_?key|private_?key)$")


def read(node: Node, kind: inspect.Type, path: str, problems: Problems, expected: str = "") -> object:
    """Return the node as builtins that fit `kind`, or INVALID after noting what is wrong."""
    if isinstance(kind, inspect.Metadata):
        return read(node, kind.type, path, problems, expected or _expected_by(kind))
    if isinstance(node, Broken):
        return INVALID
    if isinstance(kind, inspect.UnionType):
        return _read_union(node, kind, path, problems, expected)
    if isinstance(kind, inspect.StructType):
        before = len(problems)
        values = read_struct(node, kind, path, problems)
        return values if len(problems) == before else INVALID
    if isinstance(kind, inspect.DictType):
        return _read_dict(node, kind, path, problems)
    if isinstance(kind, inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType):
        return _read_list(node, kind, path, problems)
    return _read_scalar(node, kind, path, problems, expected)


def read_struct(
    node: Node,
    kind: inspect.StructType,
    path: str,
    problems: Problems,
    also: Sequence[str] = (),
    at: Mark | None = None,
) -> dict[str, object]:
    """Return the fields that are right, by their YAML names; everything else is noted.

    `also` are keys that somebody else reads. Nothing at all counts as an empty mapping. `at` is where a missing key is
    noted: the key of the whole, where there is one.
    """
    if isinstance(node, Broken) or not is_mapping(node, path, problems):
        return {}
    entries = node.entries if isinstance(node, Mapping) else {}
    fields = {field.encode_name: field for field in kind.fields}
    refuse_unknown(node, (*also, *fields), path, problems)
    values: dict[str, object] = {}
    for name, field in fields.items():
        if name in entries:
            value = read(entries[name].node, field.type, join(path, name), problems)
            if value is not INVALID:
                values[name] = value
        elif field.required:
            message = f"this key is missing; it takes {describe(field.type)}"
            problems.add(at or node.mark, join(path, name), message)
    return values


def is_mapping(node: Node, path: str, problems: Problems, what: str = "`key: value` lines") -> bool:
    """Return whether `node` is a mapping or nothing; anything else is noted, and `what` says what belongs there."""
    if isinstance(node, Mapping) or (isinstance(node, Scalar) and node.value is None):
        return True
    if not isinstance(node, Broken):
        problems.add(node.mark, path, f"expected {what}, found {found(node)}")
    return False


def refuse_unknown(node: Node, known: Sequence[str], path: str, problems: Problems) -> None:
    """Note every key that is not among `known`."""
    for key, entry in node.entries.items() if isinstance(node, Mapping) else ():
        if key in known or is_secret(key, entry.key_mark, path, problems):
            continue
        problems.add(entry.key_mark, join(path, key), f"unknown key; {advice(key, known, 'no keys belong here')}")


def is_secret(key: str, mark: Mark, path: str, problems: Problems) -> bool:
    """Return whether `key` would hold a secret, after noting where secrets belong; its value is not looked at (I12)."""
    if not _SECRET.search(key.lower().replace("-", "_")):
        return False
    message = (
        "secrets do not stand in this file; the broker's password goes into a file of its own (mode 0600): "
        "`broker: {url: …, username: …, password_file: FILE}`"
    )
    problems.add(mark, join(path, key), message)
    return True


def found(node: Node) -> str:
    """Return what stands there, for a message."""
    if isinstance(node, Mapping):
        return "`key: value` lines"
    if isinstance(node, Listing):
        return "a list"
    if isinstance(node, Broken) or node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return quote(node.text)
    return plain(node.text)


def describe(kind: inspect.Type) -> str:
    """Return in words what a value of this type is, with its range."""
    if isinstance(kind, inspect.Metadata):
        return _expected_by(kind) or describe(kind.type)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(describe(member) for member in kind.types if not isinstance(member, inspect.NoneType))
    if isinstance(kind, inspect.IntType):
        return f"a whole number{_range(kind)}"
    if isinstance(kind, inspect.FloatType):
        return f"a number{_range(kind)}"
    if isinstance(kind, inspect.StrType):
        return _describe_text(kind)
    if isinstance(kind, inspect.LiteralType | inspect.EnumType):
        return f"one of {listed([str(value) for value in _choices(kind)])}"
    if isinstance(kind, inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType):
        return "a list [a, b]"
    words = {inspect.BoolType: "`true` or `false`", inspect.NoneType: "nothing"}
    return words.get(type(kind), "`key: value` lines")


def _expected_by(kind: inspect.Metadata) -> str:
    if kind.extra and "expected" in kind.extra:
        return str(kind.extra["expected"])
    examples = (kind.extra_json_schema or {}).get("examples")
    return f"text such as {' or '.join(f'`{example}`' for example in examples)}" if examples else ""


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    above = "" if kind.gt is None else "above "
    below = "" if kind.lt is None else "below "
    if low is not None and high is not None:
        return (
            f" from {above}{low:g} to {below}{high:g}" if max(abs(low), abs(high)) < 1e6 else f" from {low} to {high}"
        )
    if low is not None:
        return f" above {low}" if above else f" of at least {low}"
    if high is not None:
        return f" below {high}" if below else f" of at most {high}"
    return ""


def _describe_text(kind: inspect.StrType) -> str:
    if kind.pattern is not None:
        return f"text of the form `{kind.pattern}`"
    if kind.max_length is not None:
        low = kind.min_length or 0
        return (
            f"text of {low} to {kind.max_length} characters" if low else f"text of at most {kind.max_length} characters"
        )
    return "text that is not empty" if kind.min_length else "text"


def _choices(kind: inspect.LiteralType | inspect.EnumType) -> list[object]:
    if isinstance(kind, inspect.LiteralType):
        return list(kind.values)
    return [member.value for member in kind.cls]


def _read_scalar(node: Node, kind: inspect.Type, path: str, problems: Problems, expected: str) -> object:
    if isinstance(node, Scalar) and _fits(node.value, kind):
        return node.value
    if not isinstance(kind, _SCALARS):
        return builtins(node)
    problems.add(node.mark, path, f"expected {expected or describe(kind)}, found {found(node)}{_cure(node, kind)}")
    return INVALID


_SCALARS = (
    inspect.StrType | inspect.IntType | inspect.FloatType | inspect.BoolType | inspect.NoneType | inspect.LiteralType
    | inspect.EnumType
)  # fmt: skip


def _cure(node: Node, kind: inspect.Type) -> str:
    """Text that looks like a number, or a number that looks like text: say what to do about the quotes."""
    if not isinstance(node, Scalar) or node.value is None:
        return _nearest_choice(node, kind)
    if isinstance(kind, inspect.StrType) and not isinstance(node.value, str):
        return f'; put it in quotes: "{plain(node.text)}"'
    if isinstance(node.value, str) and isinstance(kind, inspect.IntType | inspect.FloatType):
        return "; write it without quotes" if isinstance(resolve(node.text), int | float) else ""
    return _nearest_choice(node, kind)


def _nearest_choice(node: Node, kind: inspect.Type) -> str:
    if not isinstance(kind, inspect.LiteralType | inspect.EnumType) or not isinstance(node, Scalar):
        return ""
    hint = advice(node.text, [str(value) for value in _choices(kind)], "")
    return f"; {hint}" if hint.startswith("did") else ""


def _fits(value: object, kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.StrType):
        return isinstance(value, str) and _text_fits(value, kind)
    if isinstance(kind, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, inspect.NoneType):
        return value is None
    if isinstance(kind, inspect.LiteralType | inspect.EnumType):
        return any(type(value) is type(choice) and value == choice for choice in _choices(kind))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(kind, inspect.IntType):
        return isinstance(value, int) and _number_fits(value, kind)
    return isinstance(kind, inspect.FloatType) and _number_fits(value, kind)


def _text_fits(value: str, kind: inspect.StrType) -> bool:
    if kind.min_length is not None and len(value) < kind.min_length:
        return False
    if kind.max_length is not None and len(value) > kind.max_length:
        return False
    # `$` also matches before a line break at the end, which no name or port has.
    return kind.pattern is None or (re.search(kind.pattern, value) is not None and not value.endswith("\n"))


def _number_fits(value: float, kind: inspect.IntType | inspect.FloatType) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
        and (kind.multiple_of is None or value % kind.multiple_of == 0)
    )


def _read_union(node: Node, kind: inspect.UnionType, path: str, problems: Problems, expected: str) -> object:
    optional = any(isinstance(member, inspect.NoneType) for member in kind.types)
    members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
    if optional and isinstance(node, Scalar) and node.value is None:
        return None
    if len(members) == 1:
        return read(node, members[0], path, problems, expected)
    for member in members:
        attempt = Problems(problems.file)
        value = read(node, member, path, attempt)
        if not len(attempt):
            return value
    problems.add(node.mark, path, f"expected {expected or describe(kind)}, found {found(node)}")
    return INVALID


_Many = inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType


def _read_list(node: Node, kind: _Many, path: str, problems: Problems) -> object:
    if not isinstance(node, Listing):
        only = f"; write it as a list: [{plain(node.text)}]" if isinstance(node, Scalar) and node.text else ""
        problems.add(node.mark, path, f"expected a list, found {found(node)}{only}")
        return INVALID
    low, high = kind.min_length or 0, kind.max_length
    if len(node.items) < low or (high is not None and len(node.items) > high):
        wanted = f"at least {low}" if high is None else f"{low} to {high}"
        problems.add(node.mark, path, f"expected {wanted} entries in this list, found {len(node.items)}")
        return INVALID
    values = [read(item, kind.item_type, f"{path}[{place}]", problems) for place, item in enumerate(node.items)]
    return INVALID if any(value is INVALID for value in values) else values


def _read_dict(node: Node, kind: inspect.DictType, path: str, problems: Problems) -> object:
    if not is_mapping(node, path, problems):
        return INVALID
    entries = node.entries if isinstance(node, Mapping) else {}
    values = {key: read(entry.node, kind.value_type, join(path, key), problems) for key, entry in entries.items()}
    return INVALID if any(value is INVALID for value in values.values()) else values


def builtins(node: Node) -> object:
    """Return the node as plain Python values, for types that only msgspec itself can judge."""
    if isinstance(node, Mapping):
        return {key: builtins(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, Listing):
        return [builtins(item) for item in node.items]
    return None if isinstance(node, Broken) else node.value


def struct_type(kind: type[msgspec.Struct]) -> inspect.StructType:
    """Return msgspec's description of a Struct."""
    described = inspect.type_info(kind)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{kind.__name__} is no Struct")
    return described
