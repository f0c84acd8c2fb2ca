//! ONNX, read and written.
