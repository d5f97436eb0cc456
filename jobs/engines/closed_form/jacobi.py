"""Singular values of graded matrices, each to its own digits: the one-sided Jacobi method, in batches.

Columns of widely different lengths, such as those of features in seconds and in shares, have singular values that the
usual methods know to the digits of the largest alone. Rotations of pairs of columns keep the digits of each.

Shapes: m datasets, of which each has a matrix · p weights: the columns of a matrix, and as many rows or other ones.
Source: Demmel & Veselić, Jacobi's method is more accurate than QR (1992).
"""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 1e-14  # of the cosine of two columns
MAX_SWEEPS = 30


def right_singular_vectors(matrix_mpp: Tensor) -> tuple[Tensor, Tensor]:
    """Return A V, whose columns are orthogonal, and the orthogonal V; the columns as they come."""
    p = matrix_mpp.shape[2]
    order_mp = matrix_mpp.square().sum(1).argsort(1, descending=True)  # long columns first: fewer sweeps
    turned_mpp = matrix_mpp.gather(2, order_mp[:, None, :].expand_as(matrix_mpp)).clone()
    basis_mpp = torch.eye(p, dtype=torch.float64)[order_mp].mT.clone()
    for _ in range(MAX_SWEEPS):
        rotated = False
        for left_at, right_at in _rounds(p):
            rotated = _rotate(turned_mpp, basis_mpp, left_at, right_at) or rotated
        if not rotated:
            break
    return turned_mpp, basis_mpp


def _rounds(p: int) -> list[tuple[Tensor, Tensor]]:
    """Return every pair of columns once, in rounds of disjoint pairs."""
    seats = list(range(p + p % 2))
    rounds = []
    for _ in range(len(seats) - 1):
        pairs = [sorted((seats[at], seats[-1 - at])) for at in range(len(seats) // 2)]
        index = torch.tensor([pair for pair in pairs if pair[1] < p], dtype=torch.int64).reshape(-1, 2).T
        rounds.append((index[0], index[1]))
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return rounds


def _rotate(turned_mpp: Tensor, basis_mpp: Tensor, left_at: Tensor, right_at: Tensor) -> bool:
    """Rotate pairs of columns, in place, so that each is orthogonal; return whether any had to be."""
    left, right = turned_mpp[:, :, left_at], turned_mpp[:, :, right_at]
    long, short = left.square().sum(1), right.square().sum(1)
    inner = (left * right).sum(1)
    askew = inner.abs() > TOLERANCE * long.sqrt() * short.sqrt()
    if not bool(askew.any()):
        return False
    cotangent = (short - long) / (2 * torch.where(askew, inner, 1.0))
    sign = torch.where(cotangent < 0, -1.0, 1.0)
    tangent = torch.where(askew, sign / (cotangent.abs() + torch.hypot(cotangent, torch.ones(()))), 0.0)
    cosine = torch.hypot(tangent, torch.ones(())).reciprocal()[:, None]
    sine = cosine * tangent[:, None]
    for columns in (turned_mpp, basis_mpp):
        one, other = columns[:, :, left_at], columns[:, :, right_at]
        columns[:, :, left_at] = cosine * one - sine * other
        columns[:, :, right_at] = sine * one + cosine * other
    return True
