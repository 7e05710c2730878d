/* SPDX-License-Identifier: Apache-2.0 */
/* curl.h - libcurl, loaded when the first gateway is to be reached.
 *
 * It brings some thirty libraries and 4 MB along, which most processes of a
 * fleet never need: those that share a directory.
 */
#ifndef MILLRACE_BLOB_CURL_H
#define MILLRACE_BLOB_CURL_H

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

/* Loads and initialises it, once; for the rest of the process's life. ERR_CONFIG when it is not installed. */
enum err curl_load(struct fault *why) MUST_CHECK;

#endif
