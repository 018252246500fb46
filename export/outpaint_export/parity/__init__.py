"""How close an engine set is to its checkpoint: graph by graph at export, whole runs by `outpaint-export parity`."""
