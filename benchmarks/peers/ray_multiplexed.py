"""Ray Serve's own way to serve many models: `python ray_multiplexed.py PORT FOLDER NUM_MODELS`, until SIGTERM.

Each model is an `nn.Linear` in a file, which a replica loads when it is first asked for, and keeps.
"""

import io
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import ray
import torch
from ray import serve
from torch import nn


def write_models(folder: Path, num_models: int) -> None:
    """Write the state of each model."""
    for number in range(num_models):
        buffer = io.BytesIO()
        torch.save(nn.Linear(1, 1).state_dict(), buffer)
        (folder / f"store-{number:07d}.pt").write_bytes(buffer.getvalue())


def application(folder: str, num_models: int) -> serve.Application:
    """Return an application whose only replica may keep all models in memory."""

    @serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0})
    class Multiplexed:
        @serve.multiplexed(max_num_models_per_replica=num_models)
        async def model(self, model_id: str) -> nn.Linear:
            linear = nn.Linear(1, 1)
            linear.load_state_dict(torch.load(f"{folder}/{model_id}.pt", weights_only=True))
            return linear.eval()

        async def __call__(self, request: Any) -> dict[str, object]:
            linear = await self.model(serve.get_multiplexed_model_id())
            rows = torch.tensor((await request.json())["instances"])
            with torch.inference_mode():
                return {"predictions": linear(rows)[:, 0].tolist()}

    return Multiplexed.bind()


def main() -> None:
    """Serve until SIGTERM."""
    port, folder, num_models = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    write_models(folder, num_models)
    ray.init(include_dashboard=False, num_cpus=2, log_to_driver=False, logging_level="ERROR")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.run(application(str(folder), num_models), route_prefix="/predictions/fleet")
        print("ready", flush=True)
        signal.pause()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
