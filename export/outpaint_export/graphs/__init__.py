"""The graphs of an engine set: the parts as torch modules, their conversion to ONNX, and the forms of each graph."""
