/* SPDX-License-Identifier: Apache-2.0 */
/* blobname.c - see the header. */
#include "common/blobname.h"

#include <stdio.h>
#include <string.h>

#include "common/job.h"

/* Whether text begins with a UUID; *rest: what follows it. */
static bool begins_with_id(const char *text, const char **rest)
{
    char id[JOB_ID_BYTES];

    snprintf(id, sizeof id, "%s", text);
    *rest = text + strlen(id);
    return job_id_is_valid(id);
}

bool blob_prefix_is_valid(const char *text)
{
    const char *rest;

    return begins_with_id(text, &rest) && strlen(text) < BLOB_NAME_BYTES && rest[strspn(rest, "0123456789-")] == '\0';
}

bool blob_name_is_valid(const char *text)
{
    const char *rest;

    if (!begins_with_id(text, &rest) || strlen(text) >= BLOB_NAME_BYTES)
        return false;
    for (int i = 0; i < 2 && *rest == '-'; i++) {
        size_t digits = strspn(rest + 1, "0123456789");

        if (digits == 0)
            return false;
        rest += 1 + digits;
    }
    return *rest == '\0';
}

void blob_name_result(char out[BLOB_NAME_BYTES], const char *id, int64_t member, int64_t fence)
{
    if (member < 0)
        snprintf(out, BLOB_NAME_BYTES, "%s-%lld", id, (long long)fence);
    else
        snprintf(out, BLOB_NAME_BYTES, "%s-%lld-%lld", id, (long long)member, (long long)fence);
}
