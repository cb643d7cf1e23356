"""A model as an ONNX graph, and the same in int8."""
