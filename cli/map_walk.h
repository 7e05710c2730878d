/* SPDX-License-Identifier: Apache-2.0 */
/* map_walk.h - which files a dataset has.
 *
 * Regular files below the folder, at any depth, in the order of their names.
 * A link to a file is that file; a link to a folder is not followed (it may lead
 * in a circle). What begins with a dot is left out, folders too, and so is what
 * is neither file nor folder.
 */
#ifndef MILLRACE_CLI_MAP_WALK_H
#define MILLRACE_CLI_MAP_WALK_H

#include "cli/map_plan.h"
#include "common/err.h"

struct walk_left_out {
    size_t hidden, links, others;
};

/* Adds the files to p, which is empty, and sorts it. ERR_IO when a folder cannot be read: a plan that misses files is
 * none. */
enum err walk_dataset(const char *dataset, struct plan *p, struct walk_left_out *left_out,
                      struct fault *why) MUST_CHECK;

/* The absolute paths of both folders, owned, without links. output need not be there. ERR_PARAM where one lies in the
 * other: a run would take its own results for inputs. */
enum err walk_folders(const char *dataset, const char *output, char **dataset_path, char **output_path,
                      struct fault *why) MUST_CHECK;

#endif
