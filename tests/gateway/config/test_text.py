"""From bytes to nodes: what is not YAML, what is too much of it, and what YAML allows a technician to write."""

from __future__ import annotations

import time

import pytest

HEAD = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
"""

TEXTS = {
    "empty": ("", "1:1: the file is empty; begin with `venue:` as in the examples"),
    "only a comment": ("# nothing\n", "1:1: the file is empty; begin with `venue:` as in the examples"),
    "only a word": ("hello\n", '1:1: expected `venue:`, `broker:`, `devices:` and so on, found "hello"'),
    "a list": ("- a\n- b\n", "1:1: expected `venue:`, `broker:`, `devices:` and so on, found a list"),
    "tab as indentation": ("venue:\n\tid: hall\n", "2:1: a tab stands here; indent with spaces"),
    "open bracket": (
        "venue: {id: hall\nbroker: x\n",
        "2:7: not valid YAML while parsing a flow mapping that begins in line 1: expected ',' or '}', but got ':'",
    ),
    "colon too many": (
        "venue: id: hall\n",
        "1:10: a `:` stands where none can; check the indentation above, or put the value in quotes",
    ),
    "control character": (
        "venue: {}\nbroker: a\x00b\n",
        "2:10: a control character stands here that YAML does not allow; delete it",
    ),
    "second document": (
        HEAD + "---\nvenue: {}\n",
        "3:1: a second document begins here; one file is one venue: remove the `---`",
    ),
    "no such character": (
        'venue: "\\UFFFFFFFF"\n',
        "1:1: this is not YAML the gateway can read; look at what follows here",
    ),
    "too deep": (
        "[" * 20 + "]" * 20,
        "1:14: [0][0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than 12 levels; look for brackets left open",
    ),
    "too large": ("#" * (256 * 1024 + 1), "1:1: the file is larger than 256 kB; a configuration is a few pages"),
    "no text": (b"venue: {}\nbroker: \xff\n", "2:9: this is not UTF-8 text; save the file as UTF-8 in the editor"),
    "Latin-1": (b"# caf\xe9\n" + HEAD.encode(), "1:6: this is not UTF-8 text; save the file as UTF-8 in the editor"),
    "half a character": (
        HEAD + 'state_dir: "\\uD800"\n',
        "3:12: state_dir: this text has half a character in it (a surrogate); write it out",
    ),
    "tag": (
        HEAD + "state_dir: !!python/object:os.system x\n",
        '3:12: state_dir: the tag "tag:yaml.org,2002:python/object:os.system" means nothing here; leave it out',
    ),
    "list as a key": (HEAD + "? [a]\n: b\n", "3:3: a key must be a plain word; write `key: value`"),
    "key without a word": (HEAD + ": b\n", "3:1: a key must be a plain word; write `key: value`"),
    "duplicate section": (
        HEAD + HEAD.splitlines()[1] + "\n",
        "3:1: broker: this key stands in line 2 already; keep one of them",
    ),
    "alias of nothing": (HEAD + "zones: *x\n", "3:8: zones: the alias `*x` has no anchor `&x` before it"),
    "alias inside itself": (
        HEAD + "zones: &x {a: *x}\n",
        "3:15: zones.a: the alias `*x` stands inside what it repeats",
    ),
    "merge of a word": (
        HEAD + "zones: {<<: hall}\n",
        "3:13: zones: `<<` takes in a mapping; write `<<: *name` with its anchor's name",
    ),
    "invisible character in a key": (
        HEAD + "zo\ufeffnes: {}\n",
        "3:1: zo\\ufeffnes: unknown key; did you mean `zones`?",
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text(problems, case):
    text, problem = TEXTS[case]
    assert problems(text) == [problem]


@pytest.mark.parametrize("broken", ['"\\uD800"', "*nothing", "!!binary x"])
@pytest.mark.parametrize("where", ["venue: {}", "broker: {}", "venue: {{id: {}}}", "broker: {{url: {}}}", "limits: {}"])
def test_a_value_that_is_none_is_noted_once_wherever_it_stands(problems, broken, where):
    text = where.format(broken)
    rest = [line for line in HEAD.splitlines() if not text.startswith(line.split(":")[0])]
    found = [problem for problem in problems("\n".join([text, *rest])) if "is missing" not in problem]
    assert len(found) == 1


def bomb(levels: int) -> str:
    """A few lines that stand for ten to the power of `levels` values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def test_an_expansion_bomb_is_refused_and_quickly(problems):
    started = time.perf_counter()
    (problem,) = problems(HEAD + bomb(9))
    assert problem.endswith("the file has more than 20000 values, aliases written out; that is no venue")
    assert problem.startswith("7:")
    assert time.perf_counter() - started < 2


def test_a_byte_order_mark_is_no_part_of_the_text(read, problems):
    assert read(b"\xef\xbb\xbf" + HEAD.encode()) == read(HEAD)
    assert read(HEAD.encode("utf-16")) == read(HEAD)
    assert problems(b"\xef\xbb\xbf" + (HEAD + "zone: {}\n").encode()) == [
        "3:1: zone: unknown key; did you mean `zones`?"
    ]


def test_windows_line_ends_do_not_move_lines(problems):
    text = (HEAD + "zones: {}\nzone: {}\n").replace("\n", "\r\n")
    assert problems(text) == ["4:1: zone: unknown key; did you mean `zones`?"]


def test_anchors_and_merges_save_a_technician_typing(read):
    text = """\
devices:
  a: &serial {driver: relay, port: /dev/a, channels: 4}
  b: {<<: *serial, port: /dev/b}
zones: {hall: {}, yard: {}}
gates:
  in: &door {to: hall, pulse_ms: 900, lock: a.1}
  out: {<<: [*door], to: yard, lock: b.4}
"""
    configuration = read(HEAD + text)
    assert configuration.devices["b"].options.channels == 4
    assert configuration.devices["b"].options.port == "/dev/b"
    assert (configuration.gates["out"].pulse_ms, configuration.gates["out"].to_zone) == (900, "yard")


def test_what_a_merge_brings_in_is_judged_where_it_stands(problems):
    text = "devices:\n  a: &serial {driver: relay, port: /dev/a, channels: 40}\n  b: {<<: *serial, port: /dev/b}\n"
    assert problems(HEAD + text) == [
        "4:54: devices.a.channels: expected a whole number from 1 to 8, found 40",
        "4:54: devices.b.channels: expected a whole number from 1 to 8, found 40",
    ]


def test_on_off_and_no_are_words_as_in_yaml_1_2(read):
    gate = read(HEAD + "zones: {no: {}}\ngates: {off: {to: no, anti_passback: off}}\n").gates["off"]
    assert (gate.to_zone, gate.anti_passback) == ("no", "off")
