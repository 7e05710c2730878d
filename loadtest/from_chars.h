/* SPDX-License-Identifier: Apache-2.0 */
/* from_chars.h - a C face on std::from_chars, which is the floor of reading numbers. */
#ifndef LOADTEST_FROM_CHARS_H
#define LOADTEST_FROM_CHARS_H

#ifdef __cplusplus
extern "C" {
#endif

/* Reads the number that [text, end) begins with; returns where it stops, NULL when there is none. */
const char *from_chars(const char *text, const char *end, double *out);

#ifdef __cplusplus
}
#endif
#endif
