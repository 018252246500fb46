/* One line for each thing that would have reached a GPU; see ../counting.py for the words. */
#ifndef TRACE_H
#define TRACE_H

/* Begin a new trace in the file `path`; NULL ends it. */
void stub_trace(const char *path);
void stub_say(const char *format, ...);

#endif
