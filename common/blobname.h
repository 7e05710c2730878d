/* SPDX-License-Identifier: Apache-2.0 */
/* blobname.h - what blobs are called, in messages, records and the store of blobs (common/blob).
 *
 * Names, at most BLOB_NAME_BYTES with their NUL, of [0-9a-z-]:
 *   UUID                     an input: uploaded, or taken out of a submit
 *   JOBID-FENCE              the result of a job; counts only by a finish of this fence
 *   PARENTID-MEMBER-FENCE    the result of a group's member
 */
#ifndef MILLRACE_BLOBNAME_H
#define MILLRACE_BLOBNAME_H

#include <stdbool.h>
#include <stdint.h>

#define BLOB_NAME_BYTES 96

/* Whether text is a name as above. A name that is valid never leads outside of the store's directory. */
bool blob_name_is_valid(const char *text);

/* Whether text is a valid name's beginning, a whole UUID or more. */
bool blob_prefix_is_valid(const char *text);

/* Writes the name of a result; member -1: of a job that is no group's member (id: the parent's otherwise). */
void blob_name_result(char out[BLOB_NAME_BYTES], const char *id, int64_t member, int64_t fence);

#endif
