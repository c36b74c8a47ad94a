/* A driver without a GPU behind it, for tests: libcuda.so.1 as the server's survey, libcudart and onnxruntime's CUDA
 * provider load it. Never shipped.
 *
 * The environment says what it answers:
 *   STUB_CUDA_INIT       what cuInit returns (0)
 *   STUB_CUDA_VERSION    what cuDriverGetVersion gives (13000)
 *   STUB_CUDA_GPUS       one MAJOR.MINOR for each GPU, with commas between ("9.0"; empty: none)
 *   STUB_CUDA_OTHERWISE  what every other function returns (100, CUDA_ERROR_NO_DEVICE)
 *   STUB_CUDA_HANGS      when set, cuInit never returns
 *   STUB_CUDA_CRASHES    when set, cuInit ends the process as a fault in the driver does
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int CUresult;

enum { SUCCESS = 0, INVALID_VALUE = 1, NO_DEVICE = 100, CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76 };

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

static const char *gpus(void) {
    const char *text = getenv("STUB_CUDA_GPUS");
    return text ? text : "9.0";
}

static int count(void) {
    const char *at = gpus();
    int found = *at != '\0';
    for (; *at; at++) found += *at == ',';
    return found;
}

static int capability(int device, int *major, int *minor) {
    const char *at = gpus();
    for (; device > 0 && at; device--) at = (at = strchr(at, ',')) ? at + 1 : NULL;
    return at && sscanf(at, "%d.%d", major, minor) == 2 ? SUCCESS : INVALID_VALUE;
}

CUresult cuInit(unsigned flags) {
    (void)flags;
    if (getenv("STUB_CUDA_HANGS")) for (;;) pause();
    if (getenv("STUB_CUDA_CRASHES")) abort();
    return (CUresult)number("STUB_CUDA_INIT", SUCCESS);
}

CUresult cuDriverGetVersion(int *version) {
    *version = (int)number("STUB_CUDA_VERSION", 13000);
    return SUCCESS;
}

CUresult cuDeviceGetCount(int *found) {
    *found = count();
    return SUCCESS;
}

CUresult cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal < count() ? SUCCESS : INVALID_VALUE;
}

CUresult cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, (size_t)size, "Stub GPU %d", device);
    return SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    int major = 0, minor = 0;
    CUresult result = capability(device, &major, &minor);
    *value = attribute == CAPABILITY_MAJOR ? major : attribute == CAPABILITY_MINOR ? minor : 0;
    return result;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) {
    (void)device;
    *bytes = (size_t)16 << 30;
    return SUCCESS;
}

CUresult cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    memset(uuid, device, 16);
    return SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **name) {
    *name = error == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : error == 802 ? "CUDA_ERROR_SYSTEM_NOT_READY" : NULL;
    return *name ? SUCCESS : INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == NO_DEVICE ? "no CUDA-capable device is detected" : NULL;
    return *text ? SUCCESS : INVALID_VALUE;
}

/* Stands for every function that the stub does not have. */
static CUresult otherwise(void) {
    return (CUresult)number("STUB_CUDA_OTHERWISE", NO_DEVICE);
}

/* Who loads the stub may keep its names to itself, so it looks for them in itself only. */
static void *own(const char *symbol) {
    Dl_info here;
    void *self = dladdr((void *)cuInit, &here) ? dlopen(here.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    return self ? dlsym(self, symbol) : NULL;
}

CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status) {
    (void)version, (void)flags;
    char versioned[256];
    snprintf(versioned, sizeof versioned, "%s_v2", symbol);
    void *found = own(versioned);
    if (!found) found = own(symbol);
    *function = found ? found : (void *)otherwise;
    if (status) *status = 0;
    return SUCCESS;
}

CUresult cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}

/* What the provider binds when it is loaded, and would call only once there is a GPU. */
CUresult cuTensorMapEncodeTiled(void) { return otherwise(); }
CUresult cuTensorMapEncodeIm2col(void) { return otherwise(); }
CUresult cuTensorMapEncodeIm2colWide(void) { return otherwise(); }
CUresult cuTensorMapReplaceAddress(void) { return otherwise(); }
