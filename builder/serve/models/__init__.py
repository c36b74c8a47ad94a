"""Models: their folders in the image, onnxruntime, and a request's way through its stages."""
