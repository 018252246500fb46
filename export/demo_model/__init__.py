"""The demo model: drawn posters, a vocabulary, three small networks, and their training."""
