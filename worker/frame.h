/* SPDX-License-Identifier: Apache-2.0 */
/* frame.h - all that crosses between a worker and its executor.
 *
 * A SOCK_SEQPACKET pair on descriptor EXECUTOR_FD. Right after its start the
 * supervisor sends struct frame_hello with one descriptor (SCM_RIGHTS): a memfd
 * of shared memory, laid out as below; for the program that runs commands a second one follows, of the list of them
 * (kinds/command/list.h).
 *
 *   [one page: struct frame_shared][input: inline_max rounded up to pages][output: the same + a page]
 *
 * The executor maps it, jails itself, and answers FRAME_READY. Then for each
 * job: the supervisor writes the inline input, sends struct frame_job with the
 * descriptors of the blobs (inputs in their order, then the output); the executor
 * computes, closes them, and answers struct frame_done. For such a job the
 * supervisor has raised the executor's limits of addresses and of file size,
 * which the jail set for inline jobs; with the answer that of file size is 0 again. A kind that is open-ended puts a
 * result of up to inline_max bytes into the map, and a larger one into the output file, if it comes with one. Either
 * end closing ends the other, and so does a frame that makes no sense, or that comes with another number of descriptors
 * than it says.
 */
#ifndef MILLRACE_FRAME_H
#define MILLRACE_FRAME_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/checksum.h"
#include "common/err.h"
#include "kinds/kind.h"

#define EXECUTOR_FD 3
#define FRAME_FDS (INPUT_BLOBS_MAX + 1) /* descriptors that come with one frame, at most */

enum frame_type { FRAME_HELLO = 1, FRAME_READY, FRAME_JOB, FRAME_DONE };

#define HELLO_FDS_MAX 2

struct frame_hello {
    uint32_t type;       /* FRAME_HELLO */
    uint32_t threads;    /* CPUs per task */
    uint64_t inline_max; /* bytes of largest input; the output may be a page more */
    uint64_t memory_max; /* data memory limit in bytes */
};

struct frame_ready {
    uint32_t type; /* FRAME_READY */
    uint32_t pid;
    char     kernel[32]; /* of the matrix library, as it calls it */
};

struct frame_job {
    uint32_t type; /* FRAME_JOB */
    uint32_t kind; /* enum kind_id */
    uint64_t input_len;
    uint32_t blob_count; /* descriptors that come with the frame ... */
    uint32_t has_output; /* ... and 1: one more, the output */
    uint64_t blob_bytes[INPUT_BLOBS_MAX];
    uint64_t
        output_max; /* bytes of the output file, when there is one; of an open-ended kind: of any result, at most */
    struct args args;
    char        refs[MSG_REFS_BYTES];
};

struct frame_done {
    uint32_t     type; /* FRAME_DONE */
    uint32_t     err;  /* enum err; why.err the same */
    uint64_t     output_len;
    uint32_t     is_file;                  /* of an open-ended kind: the result is in the output file, not in the map */
    char         media[RESULT_TYPE_BYTES]; /* of an open-ended kind: its content type, "": the kind's own */
    char         sum[CHECKSUM_BYTES];
    char         verified[VERIFIED_BYTES];
    struct fault why;
};

struct frame_shared {
    _Atomic double progress;
};

/* Sizes of the layout, for both sides. */
#define FRAME_PAGE 4096u
static inline uint64_t frame_room(uint64_t bytes) { return (bytes + FRAME_PAGE - 1) / FRAME_PAGE * FRAME_PAGE; }
static inline uint64_t frame_input_at(void) { return FRAME_PAGE; }
static inline uint64_t frame_output_at(uint64_t inline_max) { return FRAME_PAGE + frame_room(inline_max); }
static inline uint64_t frame_output_max(uint64_t inline_max) { return frame_room(inline_max) + FRAME_PAGE; }
static inline uint64_t frame_map_bytes(uint64_t inline_max)
{
    return frame_output_at(inline_max) + frame_output_max(inline_max);
}

#endif
