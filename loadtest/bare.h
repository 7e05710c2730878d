/* SPDX-License-Identifier: Apache-2.0 */
/* bare.h - numbers out of text and into text with nothing around it, and what a .npy file holds.
 *
 * Conversion is common/numtext, the face of std::from_chars and std::to_chars
 * that the product uses too: it is the part whose speed is the floor.
 */
#ifndef MILLRACE_LOADTEST_BARE_H
#define MILLRACE_LOADTEST_BARE_H

#include <stddef.h>
#include <stdint.h>

/* Takes every number out of text that comes in pieces, whatever lies between
 * them: no grammar is checked. Number i goes to out[i & mask]. */
struct scan {
    double *out; /* borrowed */
    size_t  mask, count;
    char    cut[64]; /* of a number that the last piece broke off */
    size_t  cut_len;
};

void scan_feed(struct scan *s, const char *bytes, size_t len);

/* Prints numbers as rows of JSON, shortest round-trip form, into one buffer
 * again and again; returns the bytes printed. */
uint64_t bare_print(const double *numbers, size_t rows, size_t cols);

/* A .npy file of float64 in C order, mapped. */
struct npy {
    void         *map;
    size_t        bytes; /* of the file */
    const double *numbers;
    size_t        rows, cols;
};

void npy_map(struct npy *n, const char *path);
void npy_unmap(struct npy *n);

/* Copies a file by read and write; returns its bytes. is_durable: with an fsync at the end. */
uint64_t bare_copy(const char *from, const char *to, int is_durable);

#endif
