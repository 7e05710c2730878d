/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - the end of all processes that descend from this one. */
#ifndef MILLRACE_COMMAND_TREE_H
#define MILLRACE_COMMAND_TREE_H

/* Makes this process the one that orphaned descendants fall to (a child subreaper), in whatever session they are. */
void tree_adopt(void);

/* Kills all descendants and waits until the last one is reaped; only behind tree_adopt. */
void tree_kill(void);

#endif
