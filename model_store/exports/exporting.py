"""Export the models of a version, or of one dataset, to a new folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from safetensors import SafetensorError

from handler.models.fleet import Fleet
from model_store.archives.version_fleet import fleet_of_version
from model_store.errors import ExportFolderError, ExportFormatError, StoreRefusedError
from model_store.exports.models_folder import write_models
from model_store.ledger.versions import Version

Format = Literal["safetensors", "onnx", "torch"]


def export(version: Version, dataset: str | None, out_dir: Path, form: Format = "safetensors") -> list[Path]:
    """Write the models of a version, or of one dataset, in a format; return the files.

    Raises ExportFolderError if the folder is not empty, ExportFormatError if the format can't hold the models, and
    StoreRefusedError if the folder can't be written.
    """
    try:
        if out_dir.exists() and any(out_dir.iterdir()):
            raise ExportFolderError(f"folder '{out_dir}' is not empty: give a new one, so that nothing is overwritten")
        fleet = fleet_of_version(version, None if dataset is None else [dataset])
        if form == "onnx":
            return _write_onnx(fleet, out_dir, by_dataset=dataset is None)
        if form == "torch":
            from model_store.exports.torch_programs import write_programs

            return write_programs(fleet, out_dir)
        return write_models(fleet, version, dataset, out_dir)
    except (OSError, SafetensorError) as exc:
        cause = getattr(exc, "strerror", None) or " ".join(str(exc).split())
        raise StoreRefusedError(
            str(out_dir.absolute()), "", f"{cause}: check the path, its owner and the disk"
        ) from exc


def _write_onnx(fleet: Fleet, out_dir: Path, *, by_dataset: bool) -> list[Path]:
    """Write the graph. Raises ExportFormatError if the package onnx is not installed."""
    try:
        from model_store.exports.onnx_file import write_onnx
    except ModuleNotFoundError as exc:
        if exc.name != "onnx":
            raise
        remedy = "run: pip install 'gridline[onnx]', or choose another --format"
        raise ExportFormatError(f"ONNX files need the package onnx, which is not installed: {remedy}") from exc
    return write_onnx(fleet, out_dir, by_dataset=by_dataset)
