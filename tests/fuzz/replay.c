/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - runs a fuzz target over the files of its corpus: the part of
 * libFuzzer that every compiler has. Arguments: files. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct buf content = {0};
        FILE      *f = fopen(argv[i], "rb");
        size_t     got;

        if (!f) {
            perror(argv[i]);
            return EXIT_FAILURE;
        }
        while ((got = fread(buf_reserve(&content, 4096), 1, 4096, f)) > 0)
            content.len += got;
        fclose(f);
        LLVMFuzzerTestOneInput((const uint8_t *)content.data, content.len);
        buf_free(&content);
    }
    printf("%d files\n", argc - 1);
    return argc > 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
