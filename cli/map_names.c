/* SPDX-License-Identifier: Apache-2.0 */
/* map_names.c - see the header.
 *
 * Why no two outputs meet: an output is the file's own name, or its base, a dot
 * and an extension without a dot. Bases differ, and no base is the stem of
 * another file, so no base with an extension is another file's name.
 */
#include "cli/map_names.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/map_nameset.h"

/* Types and what files of theirs are called; the first is what a new one is called. */
static const struct {
    const char *type;
    const char *extensions[4];
} types[] = {
    {"image/jpeg", {"jpg", "jpeg", "jpe", NULL}},
    {"image/png", {"png", NULL}},
    {"image/webp", {"webp", NULL}},
    {"image/tiff", {"tif", "tiff", NULL}},
    {"image/gif", {"gif", NULL}},
    {"image/bmp", {"bmp", NULL}},
    {"image/svg+xml", {"svg", NULL}},
    {"application/json", {"json", NULL}},
    {"application/x-npy", {"npy", NULL}},
    {"application/pdf", {"pdf", NULL}},
    {"application/zip", {"zip", NULL}},
    {"application/gzip", {"gz", "tgz", NULL}},
    {"application/x-tar", {"tar", NULL}},
    {"application/xml", {"xml", NULL}},
    {"text/csv", {"csv", NULL}},
    {"text/html", {"html", "htm", NULL}},
    {"text/plain", {"txt", "text", NULL}},
    {"audio/wav", {"wav", NULL}},
    {"video/mp4", {"mp4", NULL}},
};
#define TYPES (sizeof types / sizeof *types)

static size_t find_type(const char *type)
{
    size_t len = strcspn(type, "; \t");

    for (size_t i = 0; i < TYPES; i++)
        if (strlen(types[i].type) == len && !strncasecmp(types[i].type, type, len))
            return i;
    return TYPES;
}

const char *names_type_of(const char *extension, size_t len)
{
    for (size_t i = 0; i < TYPES; i++)
        for (const char *const *one = types[i].extensions; *one; one++)
            if (strlen(*one) == len && !strncmp(*one, extension, len))
                return types[i].type;
    return "";
}

/* Length up to the last dot of the last part; a dot that begins or ends it starts no extension. */
static size_t stem_length(const char *name)
{
    const char *last = strrchr(name, '/');
    const char *dot;

    last = last ? last + 1 : name;
    dot = strrchr(last, '.');
    return dot && dot > last && dot[1] ? (size_t)(dot - name) : strlen(name);
}

static bool has_extension(const char *name, size_t row)
{
    const char *own = name + stem_length(name);

    for (const char *const *one = types[row].extensions; *own && *one; one++)
        if (!strcasecmp(own + 1, *one))
            return true;
    return false;
}

bool names_is_image(const char *name)
{
    for (size_t i = 0; i < TYPES; i++)
        if (!strncmp(types[i].type, "image/", 6) && has_extension(name, i))
            return true;
    return false;
}

void names_output(const char *name, const char *base, const char *type, struct buf *out)
{
    size_t row = find_type(type);
    bool   may_keep = !base || !strcmp(base, name);

    if (may_keep && (row == TYPES || has_extension(name, row)))
        buf_text(out, name);
    else if (row == TYPES) /* another base has to do, with what extension there is */
        buf_printf(out, "%s%s", base, name + stem_length(name));
    else if (base)
        buf_printf(out, "%s.%s", base, types[row].extensions[0]);
    else
        buf_printf(out, "%.*s.%s", (int)stem_length(name), name, types[row].extensions[0]);
    buf_append(out, "", 1);
    out->len--;
}

/* The first of NAME, NAME~2, NAME~3 .. that is free. A file that came later cannot have NAME: another one may be
 * called so already. */
static void assign_other(struct plan *p, size_t index, struct nameset *taken, bool is_late)
{
    struct buf text = {0};

    for (unsigned n = is_late ? 2 : 1;; n++) {
        text.len = 0;
        if (n == 1)
            buf_text(&text, plan_name(p, index));
        else
            buf_printf(&text, "%s~%u", plan_name(p, index), n);
        if (nameset_find(taken, p->texts.data, text.data, text.len) == NAMESET_NONE)
            break;
    }
    buf_append(&text, "", 1);
    plan_set_base(p, index, text.data);
    nameset_add(taken, p->texts.data, p->files[index].base_at, text.len - 1, index);
    buf_free(&text);
}

void names_assign(struct plan *p, size_t from)
{
    struct nameset taken;
    bool          *is_shared = xcalloc(p->count + 1, sizeof *is_shared);

    nameset_init(&taken, p->count);
    for (size_t i = 0; i < from; i++)
        if (plan_base(p, i))
            nameset_add(&taken, p->texts.data, p->files[i].base_at, strlen(plan_base(p, i)), i);
    for (size_t i = 0; i < p->count; i++) {
        size_t other = nameset_add(&taken, p->texts.data, p->files[i].name_at, stem_length(plan_name(p, i)), i);

        if (other != NAMESET_NONE)
            is_shared[i] = is_shared[other] = true;
    }
    for (size_t i = from; i < p->count; i++)
        if (is_shared[i])
            assign_other(p, i, &taken, from > 0);
    nameset_free(&taken);
    free(is_shared);
}
