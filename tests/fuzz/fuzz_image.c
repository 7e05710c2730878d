/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_image.c - any bytes as an image, through one chain of operations and through a turn that may be lossless: a
 * result of a known type or a refusal that says why, within the memory of a task. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/image/prepare.h"
#include "kinds/task.h"

#define ROOM (4 << 20)
#define MEMORY_MAX ((uint64_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const uint8_t *data, size_t size, const char *ops, char *room)
{
    _Atomic double progress = 0;
    struct args    args;
    struct fault   why;
    struct task    task = {.args = &args,
                           .input = data,
                           .input_len = size,
                           .refs = "",
                           .output = room,
                           .output_fd = -1,
                           .output_max = ROOM,
                           .room_max = ROOM,
                           .memory_max = MEMORY_MAX,
                           .threads = 1,
                           .progress = &progress};
    enum err       e;

    args_init(&args);
    if (args_set(&image_spec, &args, "ops", ops, &why) || args_complete(&image_spec, &args, &why))
        abort();
    e = image_run(&task);
    if (e ? e != task.why.err || !*task.why.detail || err_class(e) == ERR_CLASS_NONE
          : !task.output_len || task.output_len > ROOM || strncmp(task.type, "image/", 6) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *room; /* made with libvips, once */
    struct fault why;

    if (!room) {
        room = aligned_alloc(64, ROOM);
        if (!room || image_prepare(&why))
            abort();
    }
    run(data, size, "rotate:90", room);
    run(data, size, "thumbnail:24x9,rotate:30,blur:1,convert:png", room);
    return 0;
}
