"""The folder in which deploy and the workers of a server meet."""

from __future__ import annotations

from pathlib import Path

from model_store.deployment.control import CONTROL, Control
from model_store.serving.folder import ServerSettings


def test_control_is_the_servers_folder_though_the_follower_starts_first(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path / "volume" / "server")
    assert Control.beside(settings.model_store).folder == settings.folder / CONTROL
    assert (settings.folder / CONTROL).is_dir()


def test_control_is_in_the_model_store_where_none_can_be_made_beside_it(tmp_path: Path) -> None:
    (tmp_path / CONTROL).write_text("a file, no folder")
    assert Control.beside(tmp_path / "models").folder == tmp_path / "models" / f".{CONTROL}"
