"""How gridline runs TorchServe: the configuration, the logging and the metrics that `gridline serve` fills in."""
