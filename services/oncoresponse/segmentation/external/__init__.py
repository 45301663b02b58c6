"""Networks that were trained elsewhere: nnU-Net v2 folders, MONAI bundles, TorchScript and ONNX files."""
