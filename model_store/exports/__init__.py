"""Write models to files that need no gridline.

In: a version, and a format: safetensors with a reader in NumPy, ONNX, or programs of torch.export.
Out: a folder with equal bytes for equal models.
Imported by: jobs/cli.
"""
