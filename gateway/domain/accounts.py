"""The accounts in memory, packed: a season has a million of them, and a tap looks at two or three.

An account that moved here is one entry of a dictionary: its name in bytes, which are smaller than text, and some
fifteen bytes of MessagePack. As an object of its own with its numbers it would take three times as much.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import msgspec


class Account(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """One account. All but the balance concerns wallets only.

    `held_minor` is reserved by holds, `opening_minor` what upstream put in, and `spent_minor` what was paid, in
    `spent_count` payments, since `contact`.
    """

    balance_minor: int = 0
    held_minor: int = 0
    opening_minor: int = 0
    spent_minor: int = 0
    spent_count: int = 0
    contact: str = ""

    @property
    def available_minor(self) -> int:
        """What can be spent."""
        return self.balance_minor - self.held_minor


class _Packed(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """An account as it lies in memory: its contact is a number that stands for the text."""

    balance_minor: int = 0
    held_minor: int = 0
    opening_minor: int = 0
    spent_minor: int = 0
    spent_count: int = 0
    contact: int = 0


OPEN_MAX = 64
"""How many accounts stay unpacked beside it: one decision looks at the same two or three a dozen times."""
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Packed).decode


class Accounts(MutableMapping[str, Account]):
    """Accounts by name. Reads and writes like a dictionary of them."""

    def __init__(self) -> None:
        """Begin without any."""
        self._packed: dict[bytes, bytes] = {}
        self._contacts = _Texts()
        self._open: dict[str, Account] = {}

    def __getitem__(self, name: str) -> Account:
        return self._opened(self._packed[name.encode()])

    def find(self, name: str) -> Account | None:
        """Return an account, or None where it was never used."""
        account = self._open.get(name)
        if account is None and (packed := self._packed.get(name.encode())) is not None:
            account = self._opened(packed)
            self._keep_open(name, account)
        return account

    def __setitem__(self, name: str, account: Account) -> None:
        key = name.encode()
        before = self._packed.get(key)
        self._packed[key] = _pack(
            _Packed(
                account.balance_minor,
                account.held_minor,
                account.opening_minor,
                account.spent_minor,
                account.spent_count,
                self._contacts.taken(account.contact),
            )
        )
        if before is not None:
            self._contacts.left(_unpack(before).contact)
        self._keep_open(name, account)

    def __delitem__(self, name: str) -> None:
        self._contacts.left(_unpack(self._packed.pop(name.encode())).contact)
        self._open.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return (name.decode() for name in self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def copy(self) -> dict[str, Account]:
        """Return them all as they are now."""
        return dict(self.items())

    def total_minor(self) -> int:
        """Add up all balances."""
        return sum(one.balance_minor for one in map(_unpack, self._packed.values()))

    def _keep_open(self, name: str, account: Account) -> None:
        if len(self._open) >= OPEN_MAX:
            self._open.clear()
        self._open[name] = account

    def _opened(self, packed: bytes) -> Account:
        one = _unpack(packed)
        return Account(
            one.balance_minor,
            one.held_minor,
            one.opening_minor,
            one.spent_minor,
            one.spent_count,
            self._contacts[one.contact],
        )


class _Texts:
    """Few texts that many accounts have in common, each under a number for as long as somebody uses it."""

    def __init__(self) -> None:
        self._texts = [""]
        self._users = [0]
        self._numbers = {"": 0}
        self._free: list[int] = []

    def __getitem__(self, number: int) -> str:
        return self._texts[number]

    def taken(self, text: str) -> int:
        """Return the number of a text, which has one user more now; the empty text needs no counting."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = self._new(text)
        self._users[number] += 1
        return number

    def left(self, number: int) -> None:
        """Note that there is one user less. A text that nobody uses any more is forgotten."""
        self._users[number] -= 1
        if number and not self._users[number]:
            del self._numbers[self._texts[number]]
            self._texts[number] = ""
            self._free.append(number)

    def _new(self, text: str) -> int:
        if self._free:
            number = self._free.pop()
            self._texts[number] = text
            return number
        self._texts.append(text)
        self._users.append(0)
        return len(self._texts) - 1
