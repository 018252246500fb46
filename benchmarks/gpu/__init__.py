"""What is measured on an NVIDIA GPU in its first minutes; README.md says how."""
