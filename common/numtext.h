/* SPDX-License-Identifier: Apache-2.0 */
/* numtext.h - numbers from and to text: a C face on fast_float and
 * std::to_chars, which are exact, independent of the locale, and the fastest at hand. */
#ifndef MILLRACE_NUMTEXT_H
#define MILLRACE_NUMTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Room for any printed double: sign, 17 digits, point, exponent. */
#define NUMTEXT_BYTES 32

/* Reads all of [text, end) as a decimal number in JSON's notation (the caller
 * has checked the notation). An underflow becomes 0 with its sign. Returns
 * false when it lies beyond the range of float64. */
bool numtext_read(const char *text, const char *end, double *out);

/* Reads the longest decimal number that [text, end) begins with and returns
 * where it stops; NULL when there is none, or when it lies beyond the range of
 * float64. Laxer than JSON: takes 007, .5 and 5. too. */
const char *numtext_scan(const char *text, const char *end, double *out);

/* Reads up to max numbers in JSON's notation, each with a comma and at most one
 * blank behind it, as long as there is nothing unusual about them. Returns
 * where it stops: in front of the first one that it leaves alone. */
const char *numtext_scan_list(const char *text, const char *end, double *out, size_t max, size_t *count);

/* Prints the shortest text that reads back as the same finite number; returns its length, no NUL. */
size_t numtext_print(double value, char out[NUMTEXT_BYTES]);
size_t numtext_print_f32(float value, char out[NUMTEXT_BYTES]); /* as the same float32 */
size_t numtext_print_int(int64_t value, char out[NUMTEXT_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
