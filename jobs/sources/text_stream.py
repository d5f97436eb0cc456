"""Open a delimited file as a stream of UTF-8: decompressed, decoded, and checked as it is read.

Bytes that are not UTF-8 are no error here, because the column that holds them may not be wanted.
"""

from __future__ import annotations

import codecs
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from jobs.errors import DataError
from jobs.sources.filesystems import open_filesystem, reading
from jobs.sources.read_options import ReadOptions
from model_store.objects.s3_settings import S3Settings

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
SIGNATURES = {
    b"PAR1": "parquet, not text: set 'format: parquet'",
    b"PK\x03\x04": "a zip or Excel file, not text: set 'format: xlsx' if it is of Excel, or write it as csv",
    b"ARROW1": "arrow, not text: write it as parquet",
    b"\x1f\x8b": "compressed: set 'compression: gzip'",
    b"BZh": "compressed: set 'compression: bz2'",
    b"\x28\xb5\x2f\xfd": "compressed: set 'compression: zstd'",
    b"\xfd7zXZ\0": "compressed: set 'compression: xz'",
}
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
UTF8 = ("utf-8", "utf-8-sig", "ascii")


class TextStream:
    """The text of a file as UTF-8, without a byte order mark; `peek` looks ahead."""

    def __init__(self, stream: Any, location: str, encoding: str | None) -> None:
        self._stream = stream
        self._location = location
        self._raw = stream.read(1 << 12)  # the first bytes, which tell the encoding
        self._refuse_signature()
        self._encoding = encoding or next((name for mark, name in MARKS.items() if self._raw.startswith(mark)), "utf-8")
        name = codecs.lookup(self._encoding).name
        self._decoder = None if name in UTF8 else codecs.getincrementaldecoder(self._encoding)()
        self._ahead = b"" if self._decoder else self._raw.removeprefix(codecs.BOM_UTF8)
        self._raw = self._raw if self._decoder else b""
        self._offset = 0
        self._refuse_nul(self._ahead)

    def peek(self, num_bytes: int) -> bytes:
        """Return the next bytes without taking them: fewer than `num_bytes` only at the end of the file."""
        while len(self._ahead) < num_bytes and (block := self._next(num_bytes)):
            self._ahead += block
        return self._ahead

    def after(self, num_bytes: int) -> TextStream:
        """Return the stream without its next bytes, which `peek` has seen."""
        self._ahead = self._ahead[num_bytes:]
        return self

    def read(self, num_bytes: int = -1) -> bytes:
        """Return the next bytes, none at the end; of text that is decoded, possibly more than `num_bytes`."""
        if len(self._ahead) > num_bytes >= 0:
            ahead, self._ahead = self._ahead[:num_bytes], self._ahead[num_bytes:]
            return ahead
        ahead, self._ahead = self._ahead, b""
        return ahead + self._next(num_bytes - len(ahead) or 1 if num_bytes >= 0 else 1 << 22)

    def _next(self, num_bytes: int) -> bytes:
        """Return more text, none at the end. Raises DataError for bytes that are not text."""
        text = b""
        while not text:
            raw, self._raw = self._raw or self._stream.read(num_bytes), b""
            text = raw if self._decoder is None else self._decoded(raw)
            self._offset += len(raw)
            if not raw:
                break
        self._refuse_nul(text)
        return text

    def _decoded(self, raw: bytes) -> bytes:
        assert self._decoder is not None  # noqa: S101 - the caller has looked
        pending = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as exc:
            at = self._offset - pending + exc.start
            byte = f"byte {at} (0x{exc.object[exc.start]:02x})" if exc.start < len(exc.object) else f"byte {at}"
            raise DataError(
                f"{self._location}: {byte} can't be read as {self._encoding}: set 'encoding' to that of the file"
            ) from exc
        return (text.removeprefix("\ufeff") if self._offset == 0 else text).encode("utf-8", "surrogatepass")

    def _refuse_signature(self) -> None:
        for signature, what in SIGNATURES.items():
            if self._raw.startswith(signature):
                raise DataError(f"{self._location}: the file is {what}")

    def _refuse_nul(self, text: bytes) -> None:
        if (at := text.find(b"\0")) >= 0:
            wide = self._offset == 0 and text[:64].count(b"\0") >= len(text[:64]) // 3
            remedy = "set 'encoding: utf-16-le' or utf-16-be if it is text" if wide else "check 'format'"
            raise DataError(
                f"{self._location}: byte {self._offset + at} is NUL: the file is binary, not text: {remedy}"
            )


@contextmanager
def open_text(location: str, options: ReadOptions, s3: S3Settings) -> Iterator[TextStream]:
    """Open a delimited file. Raises DataError, with its location, for what is not text."""
    compression = compression_of(location, options)
    filesystem, path = open_filesystem(location, s3)
    with reading(location, s3):
        native = None if compression in (None, "xz") else compression
        try:
            with filesystem.open_input_stream(path, compression=native) as stream:
                source = lzma.LZMAFile(stream) if compression == "xz" else stream  # noqa: SIM115 - the stream is closed
                yield TextStream(source, location, options.encoding)
        except (lzma.LZMAError, EOFError) as exc:
            raise DataError(f"{location}: the file is not xz, or is damaged: {exc}. Write it again") from exc


def compression_of(location: str, options: ReadOptions) -> str | None:
    """Return how a file is compressed: as the options say, or by the ending of its name."""
    if options.compression == "infer":
        return COMPRESSIONS.get(PurePosixPath(location).suffix.lower())
    return None if options.compression == "none" else options.compression
