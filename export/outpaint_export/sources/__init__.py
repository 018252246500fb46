"""What is exported: where a checkpoint is stored, how it is read, and what it must be."""
