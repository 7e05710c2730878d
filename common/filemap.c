/* SPDX-License-Identifier: Apache-2.0 */
/* filemap.c - thin over mmap. */
#include "common/filemap.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum err filemap_open(int fd, uint64_t offset, uint64_t len, struct filemap *m, struct fault *why)
{
    uint64_t before = offset % (uint64_t)sysconf(_SC_PAGESIZE);
    void    *pages;

    if (offset > INT64_MAX || len > INT64_MAX - offset)
        return fault_set(why, ERR_IO, "%llu bytes at %llu lie beyond what a file can hold", (unsigned long long)len,
                         (unsigned long long)offset);
    if (len == 0) { /* mmap refuses it */
        *m = (struct filemap){.bytes = ""};
        return ERR_OK;
    }
    pages = mmap(NULL, (size_t)(before + len), PROT_READ, MAP_PRIVATE, fd, (off_t)(offset - before));
    if (pages == MAP_FAILED)
        return fault_set(why, errno == ENOMEM ? ERR_MEMORY : ERR_IO, "%llu bytes of a file cannot be mapped: %s",
                         (unsigned long long)len, strerror(errno));
    /* Begins to read what is not in memory yet; a failure only costs time. */
    (void)madvise(pages, (size_t)(before + len), MADV_WILLNEED);
    *m = (struct filemap){(const char *)pages + before, (size_t)len, pages, (size_t)(before + len)};
    return ERR_OK;
}

void filemap_close(struct filemap *m)
{
    if (!m)
        return;
    if (m->pages)
        munmap(m->pages, m->pages_len);
    *m = (struct filemap){0};
}
