/* SPDX-License-Identifier: Apache-2.0 */
/* library.c - see the header. */
#include "common/library.h"

#include <dlfcn.h>
#include <string.h>

enum err library_load(const char *file, const char *what, const struct library_function *functions, size_t count,
                      void *table, struct fault *why)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);

    if (!library)
        return fault_set(why, ERR_CONFIG, "%s needs a library: %.160s", what, dlerror());
    for (size_t i = 0; i < count; i++) {
        void *function = dlsym(library, functions[i].name);

        if (!function)
            return fault_set(why, ERR_CONFIG, "%s has no %s", file, functions[i].name);
        memcpy((char *)table + functions[i].at, &function, sizeof function);
    }
    return ERR_OK;
}
