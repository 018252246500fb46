/* Stands in for libcublas and libcublasLt: products are counted and not computed. */
#include <stdlib.h>
#include <string.h>

#include "trace.h"

int cublasCreate_v2(void **handle) { *handle = malloc(64); return 0; }
int cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }
const char *cublasGetStatusName(int status) { return "from the stubs"; }
const char *cublasGetStatusString(int status) { return "from the stubs"; }
int cublasGemmEx(void) { stub_say("product"); return 0; }
int cublasGemmStridedBatchedEx(void) { stub_say("product"); return 0; }
int cublasGemmBatchedEx(void) { stub_say("product"); return 0; }
int cublasSgemm_v2(void) { stub_say("product"); return 0; }
int cublasSgemmStridedBatched(void) { stub_say("product"); return 0; }

int cublasLtCreate(void **handle) { *handle = malloc(64); return 0; }
int cublasLtMatmulDescCreate(void **made) { *made = malloc(256); return 0; }
int cublasLtMatmulPreferenceCreate(void **made) { *made = malloc(256); return 0; }
int cublasLtMatrixLayoutCreate(void **made) { *made = malloc(256); return 0; }
int cublasLtMatrixTransformDescCreate(void **made) { *made = malloc(256); return 0; }
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *product, void *a, void *b, void *c, void *d, void *preference,
                                   int wanted, void *results, int *found) {
    enum { RESULT_BYTES = 96 };
    memset(results, 0, RESULT_BYTES * wanted);
    *found = wanted;
    return 0;
}
int cublasLtMatmul(void) { stub_say("product"); return 0; }
