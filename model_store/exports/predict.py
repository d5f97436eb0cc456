"""Predict with this folder, by NumPy alone: python predict.py DATASET '{"area": 3, "sold": "2026-01-31"}'."""

import json
import math
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

Json = dict[str, Any]

EPOCH, DAY = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)
CYCLES = {"month": (1, 12), "weekday": (1, 7), "hour": (0, 24)}
TRANSFORMS: dict[Any, Any] = {None: float, "log": math.log, "log10": math.log10, "log1p": math.log1p, "sqrt": math.sqrt}
BACK: dict[Any, Any] = {None: float, "log": math.exp, "log1p": math.expm1}


def predict(dataset: str, row: Json, folder: Path = Path(__file__).parent) -> float:
    """Return the prediction for raw values by name: numbers, levels, dates in ISO 8601; None where one is missing."""
    entry = json.loads((folder / "index.json").read_text("utf-8"))[dataset]
    card = json.loads((folder / entry["card"]).read_text("utf-8"))
    model = {name: of[entry["row"]] for file in entry["files"] for name, of in arrays(folder / file).items()}
    taken = {one["name"]: take(one, row.get(one["name"]), model["fill"][at]) for at, one in enumerate(card["features"])}
    columns = [math.prod(number(factor, taken) for factor in factors) for factors in card["encoder"]]
    back = BACK[card["target_transform"]]
    return float(back(np.dot(columns, model["weight"]) + model.get("bias", 0.0)))


def take(feature: Json, value: Any, fill: float) -> Json:
    """Return the level, the number, or the parts of the date of a value. Raises ValueError if there is none."""
    if feature["kind"] == "categorical":
        return {"level": known(feature, "(missing)" if value is None and feature["missing"] == "level" else value)}
    is_missing = value is None
    if feature["kind"] == "datetime" and not is_missing:
        moment = datetime.fromisoformat(value)
        value = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) / DAY
    raw = float(fill if is_missing else value)
    if not math.isfinite(raw):
        raise ValueError(f"feature {feature['name']!r} is missing, or infinite")
    if feature["kind"] == "numeric":
        transform = TRANSFORMS[feature["transform"]]
        return {"missing": is_missing, "number": transform(raw)}
    date = EPOCH + timedelta(days=raw, microseconds=100)
    parts = {"year": date.year, "month": date.month, "weekday": date.isoweekday(), "hour": date.hour}
    for part in () if feature["cyclic"] else set(feature["parts"]) - {"days"}:
        known(feature, f"{part}={parts[part]:02d}")
    angles = {part: 2 * math.pi * (parts[part] - first) / length for part, (first, length) in CYCLES.items()}
    circles = {f"{part}.{name}": getattr(math, name)(angles[part]) for part in CYCLES for name in ("sin", "cos")}
    return {"missing": is_missing, "days": raw - feature["origin"], **parts, **circles}


def known(feature: Json, level: Any) -> Any:
    """Return a level as training saw it, by the feature's rule for unseen ones. Raises ValueError."""
    if isinstance(level, str) and (level in feature["levels"] or feature["unseen"] == "reference"):
        return level
    if isinstance(level, str) and feature["unseen"] == "other" and "(other)" in feature["levels"]:
        return "(other)"
    raise ValueError(f"feature {feature['name']!r} has the level {level!r}, which training did not see")


def number(factor: Json, taken: dict[str, Json]) -> float:
    """Return a factor of an encoded column: a number with its power, or whether a level is the one of the column."""
    value = taken[factor["feature"]][factor["take"]]
    return float(value == factor["equals"] if "equals" in factor else value ** factor.get("power", 1))


def arrays(file: Path) -> dict[str, Any]:
    """Return the arrays of a safetensors file, which are all float64."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    return {
        name: np.frombuffer(data, "<f8", math.prod(of["shape"]), start + of["data_offsets"][0]).reshape(of["shape"])
        for name, of in header.items()
        if name != "__metadata__"
    }


if __name__ == "__main__":
    print(predict(sys.argv[1], json.loads(sys.argv[2])))
