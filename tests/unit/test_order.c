/* SPDX-License-Identifier: Apache-2.0 */
/* test_order.c - what a worker makes of a message that anybody may have written. */
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "tests/unit/check.h"
#include "worker/order.h"

#define UUID "01934000-0000-7000-8000-0000000000ab"
#define RANDOM "{\"A\":{\"at\":\"random\",\"seed\":1},\"B\":{\"at\":\"random\",\"seed\":2}}"

static struct settings settings(void)
{
    struct settings s;
    struct fault    why;

    clearenv(); /* what the tests are told is no setting of a daemon */
    assert_int_equal(config_load(&s, &why), ERR_OK);
    s.blob_dir = "/somewhere";
    s.inline_max = 4096;
    return s;
}

/* Reads a message of the kind, of the third member if there is a parent; the order is to be freed. */
static enum err read_order(const struct settings *s, const char *kind, const char *params, const char *refs,
                           const char *parent, struct order *out, struct fault *why)
{
    const struct share share = {.memory_bytes = 64 << 20, .slots = 2};
    struct delivery    d = {.msg = msg_new()};
    enum err           e;

    free(d.msg->params);
    d.msg->params = xstrdup(params);
    free(d.msg->refs);
    d.msg->refs = xstrdup(refs);
    strcpy(d.msg->parent, parent);
    d.msg->member = *parent ? 3 : 0;
    e = order_read(s, NULL, &share, kinds[kind_find(kind)], &d, out, why);
    msg_free(d.msg);
    return e;
}

static void order__a_product_within_the_memory_runs_as_it_is(void **state)
{
    struct settings s = settings();
    struct order    o;
    struct fault    why;

    (void)state;
    assert_int_equal(read_order(&s, "matrix", "{\"m\":100,\"k\":9,\"n\":100}", RANDOM, "", &o, &why), ERR_OK);
    assert_int_equal(o.member_count, 1);
    assert_int_equal(o.result_max, 128 + 80000);
    assert_true(o.is_blob);
    order_free(&o);
    assert_int_equal(read_order(&s, "matrix", "{\"m\":10,\"k\":9,\"n\":10}", RANDOM, "", &o, &why), ERR_OK);
    assert_false(o.is_blob);
    order_free(&o);
}

static void order__a_product_beyond_it_falls_into_members_and_is_cut_the_same_again(void **state)
{
    struct settings s = settings();
    struct order    first, again;
    struct buf      params = {0}, member = {0};
    struct fault    why;

    (void)state;
    assert_int_equal(read_order(&s, "matrix", "{\"m\":4000,\"k\":9,\"n\":4000}", RANDOM, "", &first, &why), ERR_OK);
    assert_true(first.member_count > 1);
    assert_true(first.is_recut);
    assert_non_null(strstr(first.layout.data, "\"tile_rows\":"));
    order_params(&first, kinds[kind_find("matrix")], &params);
    order_member_params(&first, kinds[kind_find("matrix")], &member);
    assert_non_null(strstr(params.data, "\"tile_m\":"));
    assert_null(strstr(params.data, "\"tile\":"));
    assert_string_equal(member.data + strlen(params.data) - 1, ",\"tile\":@MEMBER@}");
    assert_memory_equal(member.data, params.data, strlen(params.data) - 1);

    assert_int_equal(read_order(&s, "matrix", params.data, RANDOM, "", &again, &why), ERR_OK);
    assert_false(again.is_recut);
    assert_int_equal(again.member_count, first.member_count);
    assert_string_equal(again.layout.data, first.layout.data);
    order_free(&first);
    order_free(&again);
    buf_free(&params);
    buf_free(&member);
}

static void order__a_member_is_computed_and_its_result_is_always_a_blob(void **state)
{
    struct settings s = settings();
    struct order    o;
    struct fault    why;

    (void)state;
    assert_int_equal(read_order(&s, "matrix", "{\"m\":4000,\"k\":9,\"n\":4000,\"tile_m\":100,\"tile_n\":50,\"tile\":3}",
                                RANDOM, UUID, &o, &why),
                     ERR_OK);
    assert_int_equal(o.member_count, 1);
    assert_true(o.is_blob);
    assert_int_equal(o.result_max, 128 + 40000);
    order_free(&o);
}

static void order__a_member_has_to_say_who_it_is(void **state)
{
    static const char *const params[] = {
        "{\"m\":9,\"k\":9,\"n\":9}",
        "{\"m\":9,\"k\":9,\"n\":9,\"tile_m\":1,\"tile_n\":1}",
        "{\"m\":9,\"k\":9,\"n\":9,\"tile_m\":1,\"tile_n\":1,\"tile\":4}",
    };
    const char     *member = "{\"m\":9,\"k\":9,\"n\":9,\"tile_m\":1,\"tile_n\":1,\"tile\":3}";
    struct settings s = settings();
    struct order    o;
    struct fault    why;

    (void)state;
    for (size_t i = 0; i < sizeof params / sizeof *params; i++) {
        assert_int_equal(read_order(&s, "matrix", params[i], RANDOM, UUID, &o, &why), ERR_UNDECODABLE);
        assert_true(o.is_undecodable);
        order_free(&o);
    }
    assert_int_equal(read_order(&s, "matrix", member, RANDOM, "../../etc/passwd", &o, &why), ERR_UNDECODABLE);
    assert_true(o.is_undecodable);
    order_free(&o);
    assert_int_equal(read_order(&s, "hash", "{\"iterations\":1}", "", UUID, &o, &why), ERR_UNDECODABLE);
    assert_true(o.is_undecodable);
    order_free(&o);
    assert_int_equal(read_order(&s, "matrix", member, RANDOM, UUID, &o, &why), ERR_OK);
    order_free(&o);
}

static void order__names_lead_to_blobs_or_nowhere(void **state)
{
    static const char *const refused[] = {"{",
                                          "[]",
                                          "{\"blobs\":{}}",
                                          "{\"blobs\":[7]}",
                                          "{\"blobs\":[\"../" UUID "\"]}",
                                          "{\"blobs\":[\"" UUID ".sum\"]}",
                                          "{\"blobs\":[\"" UUID "\",\"\"]}"};
    struct settings          s = settings();
    struct order             o;
    struct fault             why;

    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(read_order(&s, "hash", "{\"iterations\":1}", refused[i], "", &o, &why), ERR_UNDECODABLE);
        assert_true(o.is_undecodable);
        order_free(&o);
    }
    assert_int_equal(
        read_order(&s, "hash", "{\"iterations\":1}", "{\"blobs\":[\"" UUID "\"],\"size\":5000}", "", &o, &why), ERR_OK);
    assert_int_equal(o.job.blob_count, 1);
    assert_string_equal(o.job.blobs[0], UUID);
    order_free(&o);
}

static void order__without_a_directory_what_needs_blobs_is_a_transient_error(void **state)
{
    struct settings s = settings();
    struct order    o;
    struct fault    why;

    (void)state;
    s.blob_dir = "";
    assert_int_equal(
        read_order(&s, "hash", "{\"iterations\":1}", "{\"blobs\":[\"" UUID "\"],\"size\":5000}", "", &o, &why), ERR_IO);
    assert_non_null(strstr(why.detail, "MILLRACE_BLOB_DIR"));
    assert_false(o.is_undecodable);
    order_free(&o);
    assert_int_equal(read_order(&s, "matrix", "{\"m\":9,\"k\":9,\"n\":9,\"tile_m\":1,\"tile_n\":1,\"tile\":3}", RANDOM,
                                UUID, &o, &why),
                     ERR_IO);
    order_free(&o);
    assert_int_equal(read_order(&s, "matrix", "{\"m\":9,\"k\":9,\"n\":9}", RANDOM, "", &o, &why), ERR_OK);
    order_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order__a_product_within_the_memory_runs_as_it_is),
        cmocka_unit_test(order__a_product_beyond_it_falls_into_members_and_is_cut_the_same_again),
        cmocka_unit_test(order__a_member_is_computed_and_its_result_is_always_a_blob),
        cmocka_unit_test(order__a_member_has_to_say_who_it_is),
        cmocka_unit_test(order__names_lead_to_blobs_or_nowhere),
        cmocka_unit_test(order__without_a_directory_what_needs_blobs_is_a_transient_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
