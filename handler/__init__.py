"""What runs inside TorchServe, and the one encoder of rows that training uses too."""
