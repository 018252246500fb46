"""What an approximation costs in quality and gains in time: on the demo's held-out scenes, or anybody's pictures."""
