"""The rows of one dataset as an engine gets them, and which of them are held out.

Shapes: n rows · d encoded columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.engines.batches import Samples
from jobs.moments import Moments, Scaling, moments_of


@dataclass(frozen=True)
class Rows:
    """`x_nd` and `y_n` in raw units, float64 or float32.

    `part_n` is the part that holds a row out, from 0, or -1 where none does: one part is a validation set, several are
    folds. It is None where nothing is held out.
    """

    x_nd: Tensor
    y_n: Tensor
    part_n: Tensor | None = None
    num_parts: int = 0

    def moments(self) -> tuple[Moments, tuple[Moments, ...]]:
        """Return the moments of all rows, and those of each part held out."""
        parts = tuple(self._moments(part) for part in range(self.num_parts))
        return moments_of(self.x_nd, self.y_n), parts

    def _moments(self, part: int) -> Moments:
        assert self.part_n is not None  # noqa: S101 - there are parts
        index = (self.part_n == part).nonzero()[:, 0]
        return moments_of(self.x_nd[index], self.y_n[index])

    def samples(self, dtype: torch.dtype, scaling: Scaling | None, *, without: int | None) -> Samples:
        """Return the rows outside part `without` (None: all rows), scaled, in the precision of training."""
        return self._samples(dtype, scaling, None if without is None else self.part_n != without)

    def held_out(self, dtype: torch.dtype, scaling: Scaling | None, part: int) -> Samples:
        """Return the rows of a part, scaled, in the precision of training."""
        return self._samples(dtype, scaling, self.part_n == part)

    def _samples(self, dtype: torch.dtype, scaling: Scaling | None, mask_n: object) -> Samples:
        x_nd, y_n = self.x_nd, self.y_n
        if isinstance(mask_n, Tensor):
            x_nd, y_n = x_nd[mask_n], y_n[mask_n]
        if scaling is not None:
            x_nd = (x_nd - scaling.offset_md[0]) / scaling.scale_md[0]
        return Samples(x_nd.to(dtype).contiguous(), y_n.to(dtype).contiguous())
