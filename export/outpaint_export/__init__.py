"""The export stage: turns a Stable Diffusion 1.5 checkpoint into an engine set for `outpaint_engine`.

This is the only place where torch, diffusers and transformers are used. Importing this package loads none of
them; `outpaint_export.exporting` does.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # as the runtime does, before any module imports ONNX Runtime
