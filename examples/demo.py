"""`make demo`: the article's regression, from a table of 22 islands to a prediction over HTTP, on this machine.

Each step is a verb of the command line, called as a function. What is written goes to the folder `gridline-demo` of
the working directory; Ray and TorchServe are stopped however the demo ends.
"""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from examples.plots import loss_curves, regression_plot
from gridline import GridlineError, load_config, open_ledger, train
from jobs.cli.output import console
from jobs.cli.tables import print_outcome
from jobs.errors import DONE, INTERRUPTED
from jobs.prediction.models import EndpointModels, PredictionOptions, predict_values
from jobs.sources.job_datasets import read_datasets
from jobs.training.datasets import TrainedDatasets
from model_store.archives.archive import Archive
from model_store.archives.stored import export_archive
from model_store.serving.ports import with_free
from model_store.serving.settings import Ports, ServerSettings
from model_store.torchserve.inference import Inference
from model_store.torchserve.serving import serving

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "examples" / "plants.yaml"
DATASET = "plant_richness"
OUT = Path("gridline-demo")
AREA = 3
TALKATIVE = ("ray._private.authentication", "matplotlib.font_manager")  # say at each first use what is as it should be


def main() -> int:
    """Run the demo and return its exit code: 0, 130 where it is interrupted, else that of what failed."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    for library in TALKATIVE:
        logging.getLogger(library).setLevel(logging.ERROR)
    started = time.monotonic()
    try:
        _demo()
    except KeyboardInterrupt:
        print("gridline: interrupted: Ray and TorchServe are stopped", file=sys.stderr)
        return INTERRUPTED
    except GridlineError as exc:
        print(f"gridline: {exc}", file=sys.stderr)
        return exc.exit_code
    _say(f"Ray and TorchServe are stopped; all of it took {time.monotonic() - started:.0f} s")
    return DONE


def _demo() -> None:
    store = OUT / "store"
    shutil.rmtree(store, ignore_errors=True)  # of the last demo: this one starts anew
    _say(f"1. train: {CONFIG.relative_to(ROOT)}, every learning rate at once, on a Ray of this machine")
    trained, point = _train(str(store))
    _say("2. draw")
    _draw(trained, point)
    _say("3. package")
    archive = export_archive(open_ledger(str(store)), "plants", None, OUT)
    print(f"archive of version {archive.version}: {archive.path}")
    _say("4. serve")
    _predict(archive)


def _train(store: str) -> tuple[TrainedDatasets, int]:
    """Train the grid and commit the best model; print the grid and the champion as the store has it."""
    outcome = train(CONFIG, store=store, address="local", base=ROOT)
    print_outcome(console(), outcome)
    [dataset] = outcome.datasets
    if dataset.trained is None or dataset.point is None:
        sys.exit(outcome.exit_code)
    linear = open_ledger(store).champion(outcome.collection, DATASET).linear()
    print(f"champion, an nn.Linear(1, 1): weight {linear.weight.item():.6f}, bias {linear.bias.item():.6f}")
    return dataset.trained, dataset.point


def _draw(trained: TrainedDatasets, point: int) -> None:
    [dataset] = read_datasets(load_config(CONFIG), ROOT)
    pictures = {
        "regression": regression_plot(dataset, trained, point),
        "loss_curves": loss_curves(trained, point),
    }
    for name, png in pictures.items():
        path = OUT / f"{name}.png"
        path.write_bytes(png)
        print(f"{name.replace('_', ' ')}: {path}")


def _predict(archive: Archive) -> None:
    """Serve the archive on free ports of the loopback interface, ask for one prediction, and stop the server."""
    with tempfile.TemporaryDirectory(prefix="gridline-demo-") as folder:
        settings = ServerSettings(Path(folder).resolve(), ports=with_free(Ports(0, 0, 0)))
        with serving(archive, settings), Inference(settings.inference_url, settings.key_file) as endpoint:
            print(f"POST {settings.inference_url}/predictions/{archive.collection}")
            models = EndpointModels(endpoint, archive.collection, None)
            answer = predict_values(models, PredictionOptions(), [f"area={AREA}"])
    print(f"prediction at area {AREA}: {answer['predictions'][0]:.3f}")


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
