/* Stands in for libcudart and libcuda: memory is the host's, kernels are counted and not run. */
#include <driver_types.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector_types.h>

#include "trace.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *trace;
static int capturing;

void stub_trace(const char *path) {
    pthread_mutex_lock(&lock);
    if (trace) fclose(trace);
    trace = path ? fopen(path, "w") : NULL;
    pthread_mutex_unlock(&lock);
}

void stub_say(const char *format, ...) {
    va_list values;
    if (!trace) return;
    pthread_mutex_lock(&lock);
    va_start(values, format);
    vfprintf(trace, format, values);
    va_end(values);
    fputs(capturing ? " captured\n" : "\n", trace);
    fflush(trace);
    pthread_mutex_unlock(&lock);
}

/* The names of kernels, as the provider registers them. */
struct kernel { const void *function; const char *name; };
static struct kernel *kernels;
static size_t known, room;

void __cudaRegisterFunction(void **module, const char *function, char *device, const char *name, int limit, void *thread,
                            void *block, void *block_size, void *grid_size, int *warp) {
    if (known == room) kernels = realloc(kernels, (room = room ? 2 * room : 4096) * sizeof *kernels);
    kernels[known++] = (struct kernel){function, strdup(name)};
}

static const char *name_of(const void *function) {
    for (size_t n = 0; n < known; n++)
        if (kernels[n].function == function) return kernels[n].name;
    return "unknown";
}

void **__cudaRegisterFatBinary(void *binary) {
    void **handle = malloc(sizeof *handle);
    *handle = binary;
    return handle;
}
void __cudaRegisterFatBinaryEnd(void **handle) {}
void __cudaUnregisterFatBinary(void **handle) {}
void __cudaRegisterVar(void) {}

/* Launches. */
static __thread struct { dim3 grid, block; size_t shared; void *stream; } configured;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
    configured.grid = grid, configured.block = block, configured.shared = shared, configured.stream = stream;
    return 0;
}
int __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    *grid = configured.grid, *block = configured.block, *shared = configured.shared;
    *(void **)stream = configured.stream;
    return 0;
}
static int launch(const void *function) {
    stub_say("kernel %s", name_of(function));
    return 0;
}
int cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared, void *stream) {
    return launch(function);
}
int __cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared, void *stream) {
    return launch(function);
}
int cudaLaunchCooperativeKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared,
                                void *stream) {
    return launch(function);
}
int cudaLaunchKernelExC(const cudaLaunchConfig_t *configuration, const void *function, void **arguments) {
    return launch(function);
}
int __cudaGetKernel(void **kernel, const void *function) { *kernel = (void *)function; return 0; }
int cudaLaunchHostFunc(void *stream, void (*function)(void *), void *data) { function(data); return 0; }

/* Memory. Only what a test looks at is copied: small values, and what comes back to the host. */
enum { SMALL = 1 << 20, TO_HOST = 2, ON_HOST = 0 };

int cudaMalloc(void **place, size_t size) { return posix_memalign(place, 256, size ? size : 256) ? 2 : 0; }
int cudaMallocFromPoolAsync(void **place, size_t size, void *pool, void *stream) { return cudaMalloc(place, size); }
int cudaMallocHost(void **place, size_t size) { return cudaMalloc(place, size); }
int cudaHostAlloc(void **place, size_t size, unsigned flags) { return cudaMalloc(place, size); }
int cudaFree(void *place) { free(place); return 0; }
int cudaFreeAsync(void *place, void *stream) { free(place); return 0; }
int cudaFreeHost(void *place) { free(place); return 0; }

static int copy(void *to, const void *from, size_t size, int kind) {
    stub_say(kind == 1 ? "copy %zu from host" : "copy %zu", size);
    if (size <= SMALL || kind == TO_HOST || kind == ON_HOST) memcpy(to, from, size);
    return 0;
}
int cudaMemcpy(void *to, const void *from, size_t size, int kind) { return copy(to, from, size, kind); }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    return copy(to, from, size, kind);
}
int cudaMemcpy2DAsync(void *to, size_t pitch, const void *from, size_t other, size_t width, size_t height, int kind,
                      void *stream) {
    stub_say("copy %zu", width * height);
    return 0;
}
int cudaMemcpyFromSymbol(void *to, const void *symbol, size_t size, size_t offset, int kind) {
    memset(to, 0, size);
    return 0;
}
int cudaMemset(void *place, int value, size_t size) { stub_say("memset %zu", size); return 0; }
int cudaMemsetAsync(void *place, int value, size_t size, void *stream) { return cudaMemset(place, value, size); }
int cudaMemGetInfo(size_t *available, size_t *total) { *available = 79ull << 30, *total = 80ull << 30; return 0; }
int cudaMemPoolCreate(void **pool, const void *properties) { *pool = malloc(8); return 0; }
int cudaMemPoolGetAttribute(void *pool, int name, void *value) { *(uint64_t *)value = 0; return 0; }
int cudaPointerGetAttributes(struct cudaPointerAttributes *found, const void *place) {
    memset(found, 0, sizeof *found);
    found->type = cudaMemoryTypeDevice;
    return 0;
}

/* Streams, events, graphs. */
int cudaStreamCreate(void **stream) { *stream = malloc(64); return 0; }
int cudaStreamCreateWithFlags(void **stream, unsigned flags) { return cudaStreamCreate(stream); }
int cudaStreamSynchronize(void *stream) { stub_say("wait"); return 0; }
int cudaDeviceSynchronize(void) { stub_say("wait"); return 0; }
int cudaEventCreate(void **event) { *event = malloc(8); return 0; }
int cudaEventCreateWithFlags(void **event, unsigned flags) { return cudaEventCreate(event); }
int cudaEventElapsedTime(float *milliseconds, void *begin, void *end) { *milliseconds = 1; return 0; }
int cudaStreamBeginCapture(void *stream, int mode) { stub_say("graph begin"); capturing = 1; return 0; }
int cudaStreamEndCapture(void *stream, void **graph) {
    capturing = 0;
    stub_say("graph end");
    *graph = malloc(8);
    return 0;
}
int cudaStreamIsCapturing(void *stream, int *status) { *status = capturing; return 0; }
int cudaGraphInstantiate(void **made, void *graph, unsigned long long flags) { *made = malloc(8); return 0; }
int cudaGraphLaunch(void *graph, void *stream) { stub_say("graph launch"); return 0; }

/* One card, with what kernels are chosen by. */
int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
int cudaGetDeviceProperties(struct cudaDeviceProp *card, int device) {
    memset(card, 0, sizeof *card);
    strcpy(card->name, "no GPU, stubs");
    card->major = 9, card->minor = 0, card->multiProcessorCount = 132, card->totalGlobalMem = 80ull << 30;
    card->sharedMemPerBlock = 49152, card->sharedMemPerBlockOptin = 232448, card->sharedMemPerMultiprocessor = 233472;
    card->regsPerBlock = card->regsPerMultiprocessor = 65536, card->warpSize = 32, card->unifiedAddressing = 1;
    card->maxThreadsPerBlock = card->maxThreadsDim[0] = card->maxThreadsDim[1] = 1024, card->maxThreadsDim[2] = 64;
    card->maxThreadsPerMultiProcessor = 2048, card->maxGridSize[0] = 2147483647;
    card->maxGridSize[1] = card->maxGridSize[2] = 65535, card->l2CacheSize = 50 << 20;
    card->maxBlocksPerMultiProcessor = 32;
    return 0;
}
int cudaDeviceGetAttribute(int *value, int name, int device) {
    switch (name) {
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = 49152; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrMaxRegistersPerBlock: *value = 65536; break;
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 232448; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = 233472; break;
    case cudaDevAttrMaxRegistersPerMultiprocessor: *value = 65536; break;
    default: *value = 1;
    }
    return 0;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *count, const void *function, int block, size_t shared,
                                                           unsigned flags) {
    *count = 2;
    return 0;
}
int cudaFuncGetAttributes(struct cudaFuncAttributes *found, const void *function) {
    memset(found, 0, sizeof *found);
    found->maxThreadsPerBlock = 1024, found->numRegs = 64;
    return 0;
}
const char *cudaGetErrorString(int error) { return "from the stubs"; }
const char *cudaGetErrorName(int error) { return "from the stubs"; }

static int nothing(void) { return 0; }
int cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version, unsigned long long flags,
                                     int *status) {
    *function = (void *)nothing;
    if (status) *status = 0;
    return 0;
}
int cudaLibraryLoadData(void **library) { *library = malloc(8); return 0; }
int cudaLibraryGetKernel(void **kernel, void *library, const char *name) { *kernel = malloc(8); return 0; }

/* libcuda, which is this file too. */
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 0; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "no GPU, stubs", size); return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuTensorMapEncodeTiled(void) { return 0; }
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    *function = (void *)nothing;
    return 0;
}
