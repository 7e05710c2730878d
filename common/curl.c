/* SPDX-License-Identifier: Apache-2.0 */
/* curl.c - see the header. */
#include "common/curl.h"

#include "common/library.h"

struct curl_api curl;

#define FUNCTION(name)                                                                                                 \
    {                                                                                                                  \
        "curl_" #name, offsetof(struct curl_api, name)                                                                 \
    }
static const struct library_function functions[] = {
    FUNCTION(global_init),  FUNCTION(easy_init),    FUNCTION(easy_setopt),
    FUNCTION(easy_perform), FUNCTION(easy_getinfo), FUNCTION(easy_strerror),
    FUNCTION(easy_cleanup), FUNCTION(slist_append), FUNCTION(slist_free_all),
};
#undef FUNCTION

enum err curl_load(const char *what, struct fault *why)
{
    enum err e;

    if (curl.global_init)
        return ERR_OK;
    /* its interface has had this number since 2006 */
    e = library_load("libcurl.so.4", what, functions, sizeof functions / sizeof *functions, &curl, why);
    if (!e && curl.global_init(CURL_GLOBAL_DEFAULT))
        e = fault_set(why, ERR_CONFIG, "libcurl cannot be initialised");
    if (e)
        curl.global_init = NULL;
    return e;
}
