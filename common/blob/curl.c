/* SPDX-License-Identifier: Apache-2.0 */
/* curl.c - see the header. */
#include "common/blob/curl.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LIBRARY "libcurl.so.4" /* its interface has had this number since 2006 */

struct curl_api curl;

#define FUNCTION(name)                                                                                                 \
    {                                                                                                                  \
        "curl_" #name, offsetof(struct curl_api, name)                                                                 \
    }
static const struct {
    const char *name;
    size_t      at;
} functions[] = {
    FUNCTION(global_init),  FUNCTION(easy_init),     FUNCTION(easy_setopt),  FUNCTION(easy_perform),
    FUNCTION(easy_getinfo), FUNCTION(easy_strerror), FUNCTION(easy_cleanup), FUNCTION(slist_append),
    FUNCTION(slist_free_all),
};
#undef FUNCTION

enum err curl_load(struct fault *why)
{
    void *library = curl.global_init ? NULL : dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

    if (curl.global_init)
        return ERR_OK;
    if (!library)
        return fault_set(why, ERR_CONFIG, "MILLRACE_BLOB_URL needs libcurl: %.160s", dlerror());
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].name);

        if (!function)
            return fault_set(why, ERR_CONFIG, LIBRARY " has no %s", functions[i].name);
        memcpy((char *)&curl + functions[i].at, &function, sizeof function);
    }
    if (curl.global_init(CURL_GLOBAL_DEFAULT))
        return fault_set(why, ERR_CONFIG, "libcurl cannot be initialised");
    return ERR_OK;
}
