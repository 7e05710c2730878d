/* SPDX-License-Identifier: Apache-2.0 */
/* sum.c - the small JSON beside each blob:
 *
 *   {"size":80000128,"head":128,"xxh3":"HEX","sha256":"HEX","boot":"UUID"}
 *
 * xxh3 is of the bytes from head on, then of those in front; the last two only where they apply. */
#include <jansson.h>
#include <string.h>

#include "common/blob/blob_impl.h"

void sum_write(const struct sum *s, struct buf *out)
{
    buf_printf(out, "{\"size\":%lld,\"head\":%lld,\"xxh3\":\"%s\"", (long long)s->size, (long long)s->head, s->xxh3);
    if (s->sha256[0])
        buf_printf(out, ",\"sha256\":\"%s\"", s->sha256);
    if (s->boot[0])
        buf_printf(out, ",\"boot\":\"%s\"", s->boot);
    buf_text(out, "}\n");
}

enum err sum_read(const char *text, size_t len, struct sum *out, struct fault *why)
{
    json_t     *doc = json_loadb(text, len, 0, NULL);
    struct sum  s = {0};
    json_int_t  size = -1, head = 0;
    const char *xxh3 = "", *sha256 = "", *boot = "";
    enum err    e = ERR_OK;

    if (json_unpack(doc, "{s:I, s:I, s:s, s?s, s?s}", "size", &size, "head", &head, "xxh3", &xxh3, "sha256", &sha256,
                    "boot", &boot) ||
        size < 0 || head < 0 || head > size || strlen(xxh3) != sizeof s.xxh3 - 1 || strlen(sha256) >= sizeof s.sha256 ||
        strlen(boot) >= sizeof s.boot) {
        e = fault_set(why, ERR_IO, "what lies beside the blob is not its size and checksum");
    } else {
        s.size = size;
        s.head = head;
        strcpy(s.xxh3, xxh3);
        strcpy(s.sha256, sha256);
        strcpy(s.boot, boot);
        *out = s;
    }
    json_decref(doc);
    return e;
}
