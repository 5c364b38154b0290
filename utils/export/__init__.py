"""Keras networks written as ONNX files, for machines and pages without TensorFlow."""
