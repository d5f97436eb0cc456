"""Tensors as bytes after the JSON of an Open Inference request, and of its answer.

Numbers are little-endian, in row-major order; an element of BYTES is its length, in 4 bytes, and its bytes.
Source: https://github.com/kserve/open-inference-protocol/blob/main/extensions/binary_data.md
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import PayloadError
from ..wording import shown

HEADER = "inference-header-content-length"
SIZE = "binary_data_size"
TEXTS = "BYTES"
NUMBERS = {
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    "BOOL": "?",
}
LENGTH = struct.Struct("<I")


def split(body: bytes | bytearray, said: str) -> tuple[bytes | bytearray, memoryview]:
    """Return the JSON of a body, and the bytes of tensors after it; the header says where the JSON ends.

    Raises PayloadError if the header, `said`, is no length within the body.
    """
    length = int(said) if said.isascii() and said.isdecimal() and len(said) < 10 else -1
    if not 0 <= length <= len(body):
        raise PayloadError(
            f"header Inference-Header-Content-Length is {shown(said)}: give the bytes of the JSON before the tensors, "
            f"at most {len(body)} here, or send the tensors as JSON (tritonclient: binary_data=False)"
        )
    return body[:length], memoryview(body)[length:]


def values_of(content: memoryview, datatype: str, count: int, name: str) -> Sequence[object]:
    """Return the elements of a tensor. Raises PayloadError if the bytes are not `count` elements of this type."""
    if datatype == TEXTS:
        return _texts(content, count, name)
    dtype = np.dtype(NUMBERS[datatype])
    if len(content) != count * dtype.itemsize:
        raise _wrong_size(name, count, datatype, f"{count * dtype.itemsize}", len(content))
    values: list[object] = np.frombuffer(content, dtype).tolist()
    return values


def _texts(content: memoryview, count: int, name: str) -> list[str]:
    texts: list[str] = []
    start, size = 0, len(content)
    while start + LENGTH.size <= size and len(texts) < count:
        end = start + LENGTH.size + LENGTH.unpack_from(content, start)[0]
        if end > size:
            break
        try:
            texts.append(str(content[start + LENGTH.size : end], "utf-8"))
        except UnicodeDecodeError as exc:
            raise PayloadError(f"tensor {shown(name)}: element {len(texts)} is not UTF-8") from exc
        start = end
    if start != size or len(texts) != count:
        raise _wrong_size(name, count, TEXTS, "for each its length in 4 bytes and its bytes", size)
    return texts


def _wrong_size(name: str, count: int, datatype: str, meant: str, size: int) -> PayloadError:
    return PayloadError(
        f"tensor {shown(name)}: '{SIZE}' is {size}, and 'shape' says {count} elements of {datatype}: give {meant}"
    )


def bytes_of(values: Sequence[object], datatype: str) -> bytes:
    """Return the elements of a tensor of an answer: FP64 (NaN for None), or BYTES from texts.

    Raises ValueError for a number that is infinite.
    """
    if datatype != TEXTS:
        numbers: NDArray[np.float64] = np.asarray(values, NUMBERS[datatype])
        if np.isinf(numbers).any():
            raise ValueError("not finite")
        return numbers.tobytes()
    encoded = [str(value).encode() for value in values]
    return b"".join(LENGTH.pack(len(one)) + one for one in encoded)
