/* What the plugin of TensorRT-RTX binds of the driver and of libnvidia-ml when it is loaded, beside stub_cuda.c. Without
 * a GPU it calls nothing of it. */

enum { NO_DEVICE = 100, NO_DRIVER = 9 };

#define ABSENT(name) \
    int name(void) { return NO_DEVICE; }

ABSENT(cuCtxCreate_v4)
ABSENT(cuCtxDestroy_v2)
ABSENT(cuCtxGetCurrent)
ABSENT(cuCtxPopCurrent_v2)
ABSENT(cuCtxPushCurrent_v2)
ABSENT(cuCtxSetCurrent)
ABSENT(cuDestroyExternalMemory)
ABSENT(cuDestroyExternalSemaphore)
ABSENT(cuExternalMemoryGetMappedBuffer)
ABSENT(cuFuncSetAttribute)
ABSENT(cuImportExternalMemory)
ABSENT(cuImportExternalSemaphore)
ABSENT(cuLaunchKernel)
ABSENT(cuModuleGetFunction)
ABSENT(cuModuleLoadData)
ABSENT(cuModuleUnload)
ABSENT(cuSignalExternalSemaphoresAsync)
ABSENT(cuStreamGetCtx)
ABSENT(cuWaitExternalSemaphoresAsync)

int nvmlInit_v2(void) { return NO_DRIVER; }
int nvmlShutdown(void) { return NO_DRIVER; }
int nvmlSystemGetDriverVersion(void) { return NO_DRIVER; }
const char *nvmlErrorString(void) { return "a stub"; }
