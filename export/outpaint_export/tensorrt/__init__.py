"""Builds TensorRT plans from an engine set's ONNX files: typed float16 graphs, shape profiles, builder, manifest."""
