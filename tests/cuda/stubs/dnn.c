/* Stands in for libcudnn: every plan is found good, convolutions are counted and not computed. */
#include <stdint.h>
#include <stdlib.h>

#include "trace.h"

struct descriptor { int type; };

size_t cudnnGetVersion(void) { return 91400; }
size_t cudnnGetCudartVersion(void) { return 13000; }
const char *cudnnGetErrorString(int status) { return "from the stubs"; }
void cudnnGetLastErrorString(char *text, size_t size) { if (size) *text = 0; }
int cudnnBackendCreateDescriptor(int type, void **made) {
    struct descriptor *descriptor = calloc(1, 4096);
    descriptor->type = type;
    *made = descriptor;
    return 0;
}
int cudnnBackendSetAttribute(void *descriptor, int name, int type, int64_t count, const void *values) { return 0; }

/* cudnnBackendAttributeType_t: what is asked for by these types must have a value. */
enum { BOOLEAN = 2, INT64 = 3, DESCRIPTOR = 15, NUMERICAL_NOTE = 23 };

int cudnnBackendGetAttribute(void *descriptor, int name, int type, int64_t wanted, int64_t *count, void *values) {
    int one = type == BOOLEAN || type == INT64 || type == DESCRIPTOR || type == NUMERICAL_NOTE;
    if (count) *count = one;
    if (!values || wanted <= 0) return 0;
    if (type == BOOLEAN) *(char *)values = 0;
    if (type == INT64) *(int64_t *)values = 0;
    if (type == NUMERICAL_NOTE) *(int *)values = 0;
    return 0;
}
int cudnnBackendExecute(void *handle, void *plan, void *pack) { stub_say("convolution"); return 0; }
int cudnnBatchNormalizationForwardTraining(void) { stub_say("normalization"); return 0; }
int cudnnReduceTensor(void) { stub_say("reduction"); return 0; }
int cudnnConvolutionForward(void) { stub_say("convolution"); return 0; }
int cudnnAddTensor(void) { stub_say("sum"); return 0; }
int cudnnSoftmaxForward(void) { stub_say("softmax"); return 0; }
int cudnnGetReductionIndicesSize(void *handle, void *reduction, void *a, void *c, size_t *size) { *size = 0; return 0; }
int cudnnGetReductionWorkspaceSize(void *handle, void *reduction, void *a, void *c, size_t *size) { *size = 0; return 0; }
int cudnnGetConvolutionForwardWorkspaceSize(void *handle, void *x, void *w, void *convolution, void *y, int algorithm,
                                            size_t *size) {
    *size = 0;
    return 0;
}
int cudnnGetStream(void *handle, void **stream) { *stream = NULL; return 0; }
