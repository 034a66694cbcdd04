"""The `devices:` section: each device against its driver's options."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping as Kinds

import msgspec

from gateway.config.problems import Mark, Problems, advice, join, quote
from gateway.config.reading import found, is_mapping, is_secret, read_struct, struct_type
from gateway.config.schema import NAME_PATTERN, NAME_RULE, RESERVED_NAMES, Device, DriverKind, Kind
from gateway.config.tree import Entry, Mapping, Node, Scalar

_UNSTABLE_PORT = re.compile(r"/dev/(?:tty(?:USB|ACM)|usb/lp|lp)[0-9]+")


class DeviceDraft(msgspec.Struct):
    """A device as far as it could be read. `kind` None: its driver is unknown; `options` None: they are wrong."""

    name: str
    mark: Mark
    node: Node
    driver: str = ""
    kind: Kind | None = None
    values: dict[str, object] = {}
    defaults: dict[str, object] = {}
    fields: frozenset[str] = frozenset()
    options: msgspec.Struct | None = None

    def get(self, key: str) -> object:
        """Return an option, or its default where it does not stand there; None where it is wrong or unknown."""
        if isinstance(self.node, Mapping) and key in self.node.entries:
            return self.values.get(key)
        return self.defaults.get(key)

    def keys(self) -> set[str]:
        """Return the options that stand there, right or wrong."""
        return set(self.node.entries) - {"driver"} if isinstance(self.node, Mapping) else set()

    def place(self, key: str) -> Mark:
        """Return where the value of `key` stands, or the device itself."""
        return place(self.node, key, self.mark)

    def device(self, drafts: Kinds[str, DeviceDraft]) -> Device:
        """Return the device; its options must be right."""
        if self.options is None:
            raise ValueError(f"{self.name} has no options")
        digest = _digest(self.driver, self.options)
        for host in self._hosts(drafts):
            if host.options is not None:
                digest = fingerprint([digest, _digest(host.driver, host.options)])
        return Device(self.name, self.driver, self.options, digest)

    def _hosts(self, drafts: Kinds[str, DeviceDraft]) -> list[DeviceDraft]:
        """Return what it hangs on: a drawer's printer or the boards of its relay and contact; the bus of a reader."""
        keys = ("printer", "relay", "contact") if self.kind == "drawer" else ("bus",)
        texts = [str(getattr(self.options, key, None) or "") for key in keys]
        # A relay and a contact are written `board.1`.
        return [drafts[name] for text in texts if (name := text.partition(".")[0]) in drafts]


def place(node: Node, key: str, otherwise: Mark) -> Mark:
    """Return where the value of `key` in `node` stands."""
    if isinstance(node, Mapping) and key in node.entries:
        return node.entries[key].node.mark
    return otherwise


def fingerprint(value: object) -> str:
    """Return a short digest that is the same for the same meaning, whatever the order of keys."""
    encoded = msgspec.json.encode(value, enc_hook=str, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:16]


def _digest(driver: str, options: msgspec.Struct) -> str:
    return fingerprint([driver, msgspec.to_builtins(options, enc_hook=str)])


def read_devices(section: Entry | None, kinds: Kinds[str, DriverKind], problems: Problems) -> dict[str, DeviceDraft]:
    """Return every device under `devices:`, right or wrong, by name."""
    drafts = {}
    for name, entry in named_entries(section, "devices", problems, RESERVED_NAMES):
        draft = DeviceDraft(name, entry.key_mark, entry.node)
        _read_device(draft, kinds, problems)
        drafts[name] = draft
    return drafts


def named_entries(
    section: Entry | None, path: str, problems: Problems, reserved: tuple[str, ...] = ()
) -> list[tuple[str, Entry]]:
    """Return the entries of a section whose keys are names; bad names are noted and their entries still returned."""
    if section is None or not is_mapping(section.node, path, problems, "entries of the form `name: {…}`"):
        return []
    entries = section.node.entries if isinstance(section.node, Mapping) else {}
    return [
        (name, entry)
        for name, entry in entries.items()
        if not is_secret(name, entry.key_mark, path, problems) and _named(name, entry, path, problems, reserved)
    ]


def _named(name: str, entry: Entry, path: str, problems: Problems, reserved: tuple[str, ...]) -> bool:
    if not re.fullmatch(NAME_PATTERN, name):
        problems.add(entry.key_mark, join(path, name), f"{quote(name)} cannot be a name; write {NAME_RULE}")
    elif name in reserved:
        message = f"the name `{name}` is reserved for the gateway's own use; choose another, such as `{name}-1`"
        problems.add(entry.key_mark, join(path, name), message)
    return True


def _read_device(draft: DeviceDraft, kinds: Kinds[str, DriverKind], problems: Problems) -> None:
    path = join("devices", draft.name)
    if not is_mapping(draft.node, path, problems, "`{driver: …, port: …}`"):
        return
    kind = _driver(draft, kinds, path, problems)
    if kind is None:
        return
    draft.kind = kind.kind
    fields = struct_type(kind.options)
    before = len(problems)
    draft.defaults = {field.encode_name: field.default for field in fields.fields if not field.required}
    draft.fields = frozenset(field.encode_name for field in fields.fields)
    draft.values = read_struct(draft.node, fields, path, problems, also=("driver",), at=draft.mark)
    options = _build(draft, kind, problems)
    draft.options = options if len(problems) == before else None
    for key in ("port", "connect"):
        if (port := _UNSTABLE_PORT.search(str(draft.get(key)))) is not None:
            lasting = "usb://VENDOR:PRODUCT/SERIAL" if "lp" in port[0] else "its name under /dev/serial/by-id/"
            message = f"{port[0]} can be another device after a restart; {lasting} lasts"
            problems.warn(draft.place(key), join(path, key), message)


def _driver(draft: DeviceDraft, kinds: Kinds[str, DriverKind], path: str, problems: Problems) -> DriverKind | None:
    entries = draft.node.entries if isinstance(draft.node, Mapping) else {}
    known = sorted(kinds)
    if "driver" not in entries:
        message = f"this key is missing; {advice('', known, 'there are no drivers')}"
        problems.add(draft.mark, join(path, "driver"), message)
        return None
    node = entries["driver"].node
    if isinstance(node, Scalar) and node.text in kinds:
        draft.driver = node.text
        return kinds[node.text]
    word = node.text if isinstance(node, Scalar) else ""
    message = f"no driver is called {found(node)}; {advice(word, known, 'there are no drivers')}"
    problems.add(node.mark, join(path, "driver"), message)
    return None


def _build(draft: DeviceDraft, kind: DriverKind, problems: Problems) -> msgspec.Struct | None:
    """Make the options, and note what only they themselves know to be wrong: their `__post_init__` refuses it.

    It stops at its first complaint too; so a key found guilty is left out and the rest is tried again.
    """
    path, left = join("devices", draft.name), dict(draft.values)
    while (message := _complaint(kind.options, left)) is not None:
        guilty = _guilty(draft, kind.options, left, message)
        if guilty is None:
            # Then it is about a key that is missing or wrong, and noted already, or about all of them together.
            if left.keys() == draft.keys() and left.keys() >= draft.fields - draft.defaults.keys():
                problems.add(draft.mark, path, message)
            return None
        problems.add(draft.place(guilty), join(path, guilty), message.removeprefix(f"{guilty}: "))
        if guilty not in draft.defaults:
            return None
        del left[guilty]
    return msgspec.convert(draft.values, kind.options) if left == draft.values else None


def _complaint(options: type[msgspec.Struct], values: dict[str, object]) -> str | None:
    try:
        msgspec.convert(values, options)
    except msgspec.ValidationError as error:
        return _shown(str(error))
    return None


def _shown(message: str) -> str:
    """Return a driver's complaint fit for one line, without a user or password of a URL in it."""
    without_place = message.split(" - at `$", maxsplit=1)[0]
    return " ".join(re.sub(r"//\S*@", "//…@", without_place).split())


def _guilty(draft: DeviceDraft, options: type[msgspec.Struct], values: dict[str, object], message: str) -> str | None:
    """Return the key a complaint is about: the one it begins with, or the one without which there is no complaint."""
    first = re.match(r"`?([a-z0-9_]+)", message)
    if first is not None and first[1] in values:
        return first[1]
    for key in values:
        if key in draft.defaults:
            others = {name: value for name, value in values.items() if name != key}
            if _complaint(options, others) != message:
                return key
    return None
