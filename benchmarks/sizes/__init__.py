"""What canvases larger than the model look like, and what they cost: on the demo's held-out scenes."""
