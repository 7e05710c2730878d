/* SPDX-License-Identifier: Apache-2.0 */
/* curl.h - libcurl, loaded when the first server is to be reached: a gateway with blobs, the
 * cluster's API.
 *
 * It brings some thirty libraries and 4 MB along, which most processes of a
 * fleet never need: those that share a directory.
 */
#ifndef MILLRACE_CURL_H
#define MILLRACE_CURL_H

#include <curl/curl.h>

#include "common/err.h"

/* Its functions under their own names, less the prefix curl_. Valid once curl_load said so. */
extern struct curl_api {
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
    CURLcode (*easy_perform)(CURL *easy);
    CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
    const char *(*easy_strerror)(CURLcode code);
    void (*easy_cleanup)(CURL *easy);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
    void (*slist_free_all)(struct curl_slist *list);
} curl;

/* Loads and initialises it, once; from the loop's thread. ERR_CONFIG when it is not installed; what: who needs it. */
enum err curl_load(const char *what, struct fault *why) MUST_CHECK;

#endif
