"""Exported files in other hands: every first-party export, in runtimes that know nothing of zoo.

``make anywhere`` fetches what pip does not (npm packages, the headers of ONNX Runtime) and writes
the table in docs/onnx.md anew.
"""
