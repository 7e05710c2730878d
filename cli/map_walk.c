/* SPDX-License-Identifier: Apache-2.0 */
/* map_walk.c - see the header.
 *
 * Folders that are still to be read wait in a list, so depth costs no stack and
 * no descriptors: one folder is open at a time.
 */
#include "cli/map_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct walk {
    struct plan          *plan;
    struct walk_left_out *left_out;
    int                   root;    /* the dataset */
    struct buf            folders; /* relative paths that wait, each with its NUL */
};

static void take_entry(struct walk *w, const char *path, const struct stat *st)
{
    if (S_ISREG(st->st_mode))
        plan_add(w->plan, path, (uint64_t)st->st_size, st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec);
    else if (S_ISDIR(st->st_mode))
        buf_append(&w->folders, path, strlen(path) + 1);
    else
        w->left_out->others++;
}

static enum err look_at(struct walk *w, const char *path, struct fault *why)
{
    struct stat st;

    if (fstatat(w->root, path, &st, AT_SYMLINK_NOFOLLOW)) {
        if (errno == ENOENT)
            return ERR_OK; /* it went while we came */
        return fault_set(why, ERR_IO, "%.180s cannot be looked at: %s", path, strerror(errno));
    }
    if (!S_ISLNK(st.st_mode))
        take_entry(w, path, &st);
    else if (fstatat(w->root, path, &st, 0) || !S_ISREG(st.st_mode))
        w->left_out->links++;
    else
        take_entry(w, path, &st);
    return ERR_OK;
}

static enum err folder_fault(const char *folder, struct fault *why)
{
    return fault_set(why, ERR_IO, "the folder '%.160s' of the dataset cannot be read: %s", *folder ? folder : ".",
                     strerror(errno));
}

/* folder: relative, "" for the dataset itself. */
static enum err read_folder(struct walk *w, const char *folder, struct fault *why)
{
    int            fd = openat(w->root, *folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR           *dir = fd < 0 ? NULL : fdopendir(fd);
    struct buf     path = {0};
    struct dirent *entry;
    enum err       e = ERR_OK;

    if (fd < 0 && errno == ENOENT && *folder)
        return ERR_OK; /* it went while we came */
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return folder_fault(folder, why);
    }
    while (!e && (errno = 0, entry = readdir(dir))) {
        if (entry->d_name[0] == '.') {
            w->left_out->hidden += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
            continue;
        }
        path.len = 0;
        buf_printf(&path, "%s%s%s", folder, *folder ? "/" : "", entry->d_name);
        buf_append(&path, "", 1);
        e = look_at(w, path.data, why);
    }
    if (!e && errno)
        e = folder_fault(folder, why);
    closedir(dir);
    buf_free(&path);
    return e;
}

/* Takes the last folder of the list off; owned. NULL: there is none. */
static char *next_folder(struct walk *w)
{
    struct buf *list = &w->folders;
    size_t      at;

    if (!list->len)
        return NULL;
    for (at = list->len - 1; at > 0 && list->data[at - 1];)
        at--;
    list->len = at;
    return xstrdup(list->data + at);
}

enum err walk_dataset(const char *dataset, struct plan *p, struct walk_left_out *left_out, struct fault *why)
{
    struct walk w = {.plan = p, .left_out = left_out};
    enum err    e;

    *left_out = (struct walk_left_out){0};
    w.root = open(dataset, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w.root < 0)
        return fault_set(why, ERR_IO, "the dataset %.160s cannot be read: %s", dataset, strerror(errno));
    e = read_folder(&w, "", why);
    for (char *folder; !e && (folder = next_folder(&w)); free(folder))
        e = read_folder(&w, folder, why);
    plan_sort(p);
    buf_free(&w.folders);
    close(w.root);
    return e;
}

/* realpath of what may not be there: of the part that is, and the rest as it is written. NULL: errno says why; what is
 * not there has no parent either. */
static char *path_to_be(const char *path)
{
    char      *whole = realpath(path, NULL);
    struct buf text = {0};
    char      *parent, *slash, *last;

    if (whole || errno != ENOENT)
        return whole;
    parent = xstrdup(path);
    for (size_t len = strlen(parent); len > 1 && parent[len - 1] == '/';)
        parent[--len] = '\0';
    slash = strrchr(parent, '/');
    if (slash)
        *slash = '\0';
    last = slash ? slash + 1 : parent;
    if (!*last || !strcmp(last, ".."))
        errno = ENOENT;
    else
        whole = path_to_be(!slash ? "." : *parent ? parent : "/");
    if (whole)
        buf_printf(&text, "%s/%s", strcmp(whole, "/") ? whole : "", last);
    free(whole);
    free(parent);
    return text.len ? (buf_append(&text, "", 1), buf_detach(&text)) : NULL;
}

static bool lies_in(const char *inner, const char *outer)
{
    size_t len = strlen(outer);

    return !strcmp(outer, "/") || (!strncmp(inner, outer, len) && (!inner[len] || inner[len] == '/'));
}

enum err walk_folders(const char *dataset, const char *output, char **dataset_path, char **output_path,
                      struct fault *why)
{
    char    *in = realpath(dataset, NULL), *out = NULL;
    enum err e = ERR_OK;

    if (!in)
        return fault_set(why, ERR_IO, "the dataset %.160s cannot be read: %s", dataset, strerror(errno));
    if (!(out = path_to_be(output)))
        e = fault_set(why, ERR_IO, "the output folder %.160s cannot be reached: %s", output, strerror(errno));
    else if (lies_in(out, in))
        e = fault_set(why, ERR_PARAM, "the output folder lies in the dataset: the run would take results for inputs");
    else if (lies_in(in, out))
        e = fault_set(why, ERR_PARAM, "the dataset lies in the output folder: results could overwrite inputs");
    if (e) {
        free(in);
        free(out);
        return e;
    }
    *dataset_path = in;
    *output_path = out;
    return ERR_OK;
}
