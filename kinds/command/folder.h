/* SPDX-License-Identifier: Apache-2.0 */
/* folder.h - the private folder of one run: made, locked while the run lasts, and removed whatever is in it.
 *
 * It lies below TMPDIR (else /tmp), belongs to this user alone (mode 0700), and is
 * locked (flock) by its descriptor. A folder that nobody holds locked is what a run left that was killed together with
 * all that could have cleaned up behind it: folder_sweep removes it.
 */
#ifndef MILLRACE_COMMAND_FOLDER_H
#define MILLRACE_COMMAND_FOLDER_H

#include "common/err.h"

#define FOLDER_PATH_BYTES 512
#define FOLDER_IN "in"
#define FOLDER_OUT "out"
#define FOLDER_TMP "tmp"

struct folder {
    char path[FOLDER_PATH_BYTES];
    int  fd; /* owned; holds the lock, as do the copies that a fork makes of it */
};

/* Makes one with the folders in, out and tmp. ERR_DISK_FULL, ERR_IO. */
enum err folder_make(struct folder *f, struct fault *why) MUST_CHECK;

/* Removes it with all that is in it, of any depth and any mode; no link is followed. Nobody may write to it any more.
 * What cannot be removed stays. */
void folder_remove(struct folder *f);

/* Closes the descriptor alone: another process removes the folder. */
void folder_leave(struct folder *f);

/* Removes those of runs that are no more. */
void folder_sweep(void);

#endif
