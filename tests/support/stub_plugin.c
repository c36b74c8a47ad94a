// A plugin of onnxruntime (onnxruntime_ep_c_api.h) that has no execution provider to offer.
#include <stddef.h>

void *CreateEpFactories(const char *name, const void *api, const void *log, void **made, size_t most, size_t *count)
{
    (void)name, (void)api, (void)log, (void)made, (void)most;
    *count = 0;
    return NULL;
}

void *ReleaseEpFactory(void *factory)
{
    (void)factory;
    return NULL;
}
