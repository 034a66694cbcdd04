"""Logos: pictures stored on the gateway, printed on top of a receipt by their name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta
from PIL import Image

from drivers.api import DeviceFault
from drivers.document import LOGO_NAME, MAX_IMAGE_BYTES, Document, decode_png

LogoFolder = Annotated[
    str,
    Meta(
        pattern="^/.+",
        max_length=300,
        description="Folder of logos: PNG files, NAME.png.",
        extra={"expected": "a folder by its whole path, such as `/etc/venue-gateway/logos`"},
    ),
]
LogoName = Annotated[
    str,
    Meta(
        pattern=LOGO_NAME,
        description="The logo on top of whatever names none itself; without .png.",
        extra={"expected": "the name of a PNG file without its ending, such as `club`"},
    ),
]
MAX_NAMED = 20


def check_logo(folder: str | None, name: str | None) -> None:
    """Raise ValueError for a logo that can lie nowhere."""
    if name is not None and folder is None:
        raise ValueError("logo needs the folder it lies in: name that as `logos`")


class Logos:
    """The logos of one printer. Its methods read files: call them in a thread."""

    def __init__(self, folder: str | None, default: str | None) -> None:
        self._folder = Path(folder) if folder is not None else None
        self._default = default

    def picture(self, document: Document) -> Image.Image | None:
        """The logo for a document, in grey; None where it has none.

        Raises DeviceFault for a name that is not there. The printer's own `logo` may be missing: what has to be printed
        is printed without it.
        """
        if document.logo == "" or (document.logo is None and self._default is None):
            return None
        try:
            return self._load(document.logo or self._default or "")
        except DeviceFault:
            if document.logo is not None:
                raise
            return None

    def trouble(self) -> str:
        """What is wrong with the printer's own logo, for people; empty when nothing is."""
        try:
            self.picture(Document(lines=(), logo=self._default or ""))
        except DeviceFault as fault:
            return str(fault)
        return ""

    def _load(self, name: str) -> Image.Image:
        if self._folder is None:
            raise DeviceFault(
                f"there is no logo {name!r}: this printer has none; a technician names their folder, `logos`"
            )
        path = self._folder / f"{name}.png"
        try:
            with path.open("rb") as file:
                return decode_png(file.read(MAX_IMAGE_BYTES))
        except OSError as error:
            known = ", ".join(self._names()) or "none"
            raise DeviceFault(
                f"there is no logo {name!r} in {self._folder} ({error.strerror}); there: {known}"
            ) from None
        except ValueError as error:
            raise DeviceFault(f"{path}: {error}") from error

    def _names(self) -> list[str]:
        if self._folder is None:
            return []
        try:
            return sorted(path.stem for path in self._folder.glob("*.png"))[:MAX_NAMED]
        except OSError:
            return []
