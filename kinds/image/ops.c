/* SPDX-License-Identifier: Apache-2.0 */
/* ops.c - see the header. A reader per form of value; each gets the text behind the colon, or NULL. */
#include "kinds/image/ops.h"

#include <math.h>
#include <string.h>

#include "common/numtext.h"

#define SHOWN_MAX 32 /* bytes of a refused operation that the detail repeats */
#define SHARPEN_SIGMA 0.5

struct text {
    const char *at, *end;
};

const struct image_op_row image_op_rows[OP_COUNT] = {
    [OP_ROTATE] = {"rotate", "ANGLE", "turns clockwise by -360 to 360 degrees; the image grows to hold its corners"},
    [OP_SCALE] = {"scale", "FACTOR", "makes both sides 0.001 to 100 times as long"},
    [OP_FIT] = {"fit", "WxH or N", "shrinks the image until it fits into W x H pixels; never enlarges"},
    [OP_THUMBNAIL] = {"thumbnail", "WxH or N", "fills exactly W x H pixels, and cuts off what is over on two sides"},
    [OP_CROP] = {"crop", "WxH+X+Y", "keeps W x H pixels from the point X, Y on"},
    [OP_FLIP] = {"flip", "h or v", "mirrors left to right (h) or top to bottom (v)"},
    [OP_GRAY] = {"gray", "", "takes the colours out"},
    [OP_BLUR] = {"blur", "SIGMA", "blurs by a Gaussian of 0.1 to 100 pixels"},
    [OP_SHARPEN] = {"sharpen", "[SIGMA]", "sharpens edges 0.1 to 10 pixels wide (0.5 unless given)"},
    [OP_CONVERT] = {"convert", "FORMAT", "writes jpeg, png, webp or tiff instead of the format that came"},
};

static const struct {
    const char *name, *type;
} formats[IMAGE_FORMAT_COUNT] = {
    [IMAGE_JPEG] = {"jpeg", "image/jpeg"},
    [IMAGE_PNG] = {"png", "image/png"},
    [IMAGE_WEBP] = {"webp", "image/webp"},
    [IMAGE_TIFF] = {"tiff", "image/tiff"},
};

const char *image_format_name(enum image_format format) { return formats[format].name; }
const char *image_format_type(enum image_format format) { return formats[format].type; }

/* ---- values -------------------------------------------------------------- */

static size_t digits(struct text t)
{
    size_t len = 0;

    while (t.at + len < t.end && t.at[len] >= '0' && t.at[len] <= '9')
        len++;
    return len;
}

static bool is_word(struct text t, const char *word)
{
    size_t len = strlen(word);

    return (size_t)(t.end - t.at) == len && memcmp(t.at, word, len) == 0;
}

/* All of t: -12.5 */
static bool read_number(struct text t, double min, double max, double *out)
{
    struct text rest = {t.at + (t.at < t.end && *t.at == '-'), t.end};
    size_t      len = digits(rest);

    if (!len)
        return false;
    rest.at += len;
    if (rest.at < rest.end && *rest.at == '.') {
        rest.at++;
        len = digits(rest);
        rest.at += len;
    }
    return len && rest.at == rest.end && numtext_scan(t.at, t.end, out) == t.end && *out >= min && *out <= max;
}

/* The whole number that t begins with; t is moved behind it. */
static bool take_int(struct text *t, int min, int max, int *out)
{
    size_t len = digits(*t);
    int    value = 0;

    if (!len)
        return false;
    for (; len; len--, t->at++)
        if (value <= max) /* and no further: it cannot overflow */
            value = 10 * value + (*t->at - '0');
    *out = value;
    return value >= min && value <= max;
}

static bool take_char(struct text *t, char c)
{
    if (t->at == t->end || *t->at != c)
        return false;
    t->at++;
    return true;
}

static bool take_size(struct text *t, struct image_op *op)
{
    return take_int(t, 1, IMAGE_SIDE_MAX, &op->width) && take_char(t, 'x') &&
           take_int(t, 1, IMAGE_SIDE_MAX, &op->height);
}

static bool read_size(struct text t, struct image_op *op)
{
    struct text side = t;

    if (take_int(&side, 1, IMAGE_SIDE_MAX, &op->width) && side.at == side.end) {
        op->height = op->width;
        return true;
    }
    return take_size(&t, op) && t.at == t.end;
}

/* In the query of a URL a plus that is not escaped means a blank, and arrives as one. */
static bool take_plus(struct text *t) { return take_char(t, '+') || take_char(t, ' '); }

static bool read_box(struct text t, struct image_op *op)
{
    return take_size(&t, op) && take_plus(&t) && take_int(&t, 0, IMAGE_SIDE_MAX, &op->x) && take_plus(&t) &&
           take_int(&t, 0, IMAGE_SIDE_MAX, &op->y) && t.at == t.end;
}

static bool read_format(struct text t, enum image_format *out)
{
    if (is_word(t, "jpg"))
        t = (struct text){"jpeg", &"jpeg"[4]};
    if (is_word(t, "tif"))
        t = (struct text){"tiff", &"tiff"[4]};
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++)
        if (is_word(t, formats[i].name)) {
            *out = (enum image_format)i;
            return true;
        }
    return false;
}

/* value.at is NULL when there is no colon. */
static bool read_value(struct image_op *op, struct text value)
{
    op->number = SHARPEN_SIGMA;
    if (!value.at)
        return op->code == OP_GRAY || op->code == OP_SHARPEN;
    switch (op->code) {
    case OP_ROTATE:
        return read_number(value, -360, 360, &op->number);
    case OP_SCALE:
        return read_number(value, 0.001, 100, &op->number);
    case OP_FIT:
    case OP_THUMBNAIL:
        return read_size(value, op);
    case OP_CROP:
        return read_box(value, op);
    case OP_FLIP:
        op->is_vertical = is_word(value, "v");
        return op->is_vertical || is_word(value, "h");
    case OP_BLUR:
        return read_number(value, 0.1, 100, &op->number);
    case OP_SHARPEN:
        return read_number(value, 0.1, 10, &op->number);
    case OP_CONVERT:
        return read_format(value, &op->format);
    case OP_GRAY:
    case OP_COUNT:
        break;
    }
    return false;
}

/* ---- operations ---------------------------------------------------------- */

static int shown(struct text t) { return t.end - t.at < SHOWN_MAX ? (int)(t.end - t.at) : SHOWN_MAX; }

static enum err refuse_name(struct text op, int number, struct fault *why)
{
    return fault_set(why, ERR_PARAM,
                     "ops: operation %d, '%.*s', is none of rotate, scale, fit, thumbnail, crop, flip, gray, blur, "
                     "sharpen and convert",
                     number, shown(op), op.at);
}

static enum err refuse_value(const struct image_op_row *row, struct text op, int number, struct fault *why)
{
    return fault_set(why, ERR_PARAM, "ops: operation %d, '%.*s', must be %s%s%s: it %s", number, shown(op), op.at,
                     row->name, *row->value ? ":" : "", row->value, row->help);
}

static enum err read_op(struct text text, int number, struct image_op *op, struct fault *why)
{
    const char *colon = memchr(text.at, ':', (size_t)(text.end - text.at));
    struct text name = {text.at, colon ? colon : text.end};
    struct text value = {colon ? colon + 1 : NULL, text.end};

    *op = (struct image_op){.code = OP_ROTATE};
    while (op->code < OP_COUNT && !is_word(name, image_op_rows[op->code].name))
        op->code++;
    if (op->code == OP_COUNT)
        return refuse_name(text, number, why);
    return read_value(op, value) ? ERR_OK : refuse_value(&image_op_rows[op->code], text, number, why);
}

static enum err add_op(struct image_plan *plan, const struct image_op *op, int number, struct fault *why)
{
    if (op->code != OP_CONVERT) {
        plan->ops[plan->count++] = *op;
        return ERR_OK;
    }
    if (plan->format != IMAGE_SAME)
        return fault_set(why, ERR_PARAM, "ops: operation %d: convert is given more than once", number);
    plan->format = op->format;
    return ERR_OK;
}

enum err image_ops_read(const char *ops, struct image_plan *plan, struct fault *why)
{
    struct image_op op;
    enum err        e = ERR_OK;

    *plan = (struct image_plan){.format = IMAGE_SAME};
    if (!*ops)
        return ERR_OK;
    for (int number = 1; !e; number++) {
        const char *end = ops + strcspn(ops, ",");

        if (number > IMAGE_OPS_MAX)
            return fault_set(why, ERR_PARAM, "ops: there are more than %d operations", IMAGE_OPS_MAX);
        e = read_op((struct text){ops, end}, number, &op, why);
        if (!e)
            e = add_op(plan, &op, number, why);
        if (!*end)
            break;
        ops = end + 1;
    }
    return e;
}

enum err image_colour_read(const char *text, unsigned char rgb[3], struct fault *why)
{
    static const char hex[] = "0123456789abcdef";

    if (strlen(text) != 6 || strspn(text, "0123456789abcdefABCDEF") != 6)
        return fault_set(why, ERR_PARAM, "background must be six hex digits as in ff8000, not '%.*s'", SHOWN_MAX, text);
    for (int i = 0; i < 6; i++) {
        int digit = (int)(strchr(hex, text[i] | 0x20) - hex); /* the digits have that bit already */

        rgb[i / 2] = (unsigned char)(i % 2 ? rgb[i / 2] << 4 | digit : digit);
    }
    return ERR_OK;
}

int image_quarter_turns(double angle)
{
    double turns = angle / 90;

    return turns == floor(turns) ? (int)turns & 3 : -1;
}
