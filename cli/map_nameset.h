/* SPDX-License-Identifier: Apache-2.0 */
/* map_nameset.h - which texts of a plan there are, each with an index.
 *
 * The texts stay where they are, in one growing buffer that every call is
 * given: an entry is an offset and a length. Adding and finding take the same
 * time however many there are.
 */
#ifndef MILLRACE_CLI_MAP_NAMESET_H
#define MILLRACE_CLI_MAP_NAMESET_H

#include <stddef.h>
#include <stdint.h>

#define NAMESET_NONE SIZE_MAX

/* Of any text, the same everywhere; all its bits are good. */
uint32_t nameset_hash(const char *text, size_t len);

struct nameset {
    struct nameset_entry *entries; /* owned */
    size_t                room, count;
};

/* expected: how many there will be, roughly. */
void nameset_init(struct nameset *s, size_t expected);
void nameset_free(struct nameset *s);

/* Adds the len bytes at texts + at. Returns NAMESET_NONE, or the index of the one that was there already and stays. */
size_t nameset_add(struct nameset *s, const char *texts, uint64_t at, size_t len, size_t index);

size_t nameset_find(const struct nameset *s, const char *texts, const char *text, size_t len);

#endif
