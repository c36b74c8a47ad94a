"""The Open Inference Protocol v2 with Triton's extensions: paths, documents, tensors on the wire."""
