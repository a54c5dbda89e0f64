"""The student in use: files of texts classified, and the student as ONNX."""
