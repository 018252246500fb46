"""The HTTP side: who calls, what a body means, what is answered. Knows no SQL."""
