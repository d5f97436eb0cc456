"""The names of files in the control folder that gridline's commands write, and the workers read or lock."""

from __future__ import annotations

DRAINING = "draining"
BUSY = "busy.lock"
