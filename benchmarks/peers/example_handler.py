"""A handler as TorchServe's own examples write it: BaseHandler, `nn.Linear` from torch.load, one dataset."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from ts.torch_handler.base_handler import BaseHandler


class ExampleHandler(BaseHandler):  # type: ignore[misc]
    """Takes {"instances": [[number, …], …]} and answers a list of numbers."""

    def initialize(self, context: Any) -> None:
        """Load the state of an nn.Linear."""
        properties = context.system_properties
        self.device = torch.device("cpu")
        self.model = torch.nn.Linear(1, 1)
        self.model.load_state_dict(torch.load(Path(properties["model_dir"]) / "model.pt"))
        self.model.eval()
        self.initialized = True

    def preprocess(self, data: Sequence[Any]) -> Tensor:
        """Return the instances of all requests as one tensor."""
        bodies = [json.loads(row.get("data") or row.get("body")) for row in data]
        self.sizes = [len(body["instances"]) for body in bodies]
        return torch.tensor([instance for body in bodies for instance in body["instances"]], dtype=torch.float32)

    def inference(self, data: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the model's output."""
        with torch.no_grad():
            return self.model(data)

    def postprocess(self, data: Tensor) -> list[Any]:
        """Return one answer for each request."""
        return [{"predictions": part.squeeze(1).tolist()} for part in torch.split(data, self.sizes)]
