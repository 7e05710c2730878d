/* SPDX-License-Identifier: Apache-2.0 */
/* test_msg.c - the packed form gives back what was packed, and nothing else. */
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "tests/unit/check.h"

static struct msg *sample(void)
{
    struct msg *m = msg_new();

    job_id_new(m->id);
    job_copy_new(m->copy);
    strcpy(m->kind, "hash");
    strcpy(m->content_type, "application/octet-stream");
    strcpy(m->idempotency, "a \"quoted\" key\\");
    strcpy(m->group, "0193489c-bbbb-7aaa-8aaa-aaaaaaaaaaaa");
    m->attempts_max = 7;
    m->epoch = 1763679000123456;
    m->attempt = 2;
    m->created_ms = 1763679000123;
    m->deadline_ms = 1763679999999;
    free(m->params);
    m->params = xstrdup("{\"iterations\":5}");
    m->body = xmemdup("\0\n{}\xff", 5);
    m->body_len = 5;
    return m;
}

static void msg__packed_form_survives_the_round_trip(void **state)
{
    struct msg  *m = sample(), *back = NULL;
    struct buf   packed = {0};
    struct fault why;

    (void)state;
    msg_pack(m, &packed);
    assert_int_equal(msg_unpack(packed.data, packed.len, &back, &why), ERR_OK);
    assert_string_equal(back->id, m->id);
    assert_string_equal(back->kind, m->kind);
    assert_string_equal(back->copy, m->copy);
    assert_string_equal(back->idempotency, m->idempotency);
    assert_string_equal(back->params, m->params);
    assert_string_equal(back->traceparent, "");
    assert_string_equal(back->group, m->group);
    assert_int_equal(back->attempts_max, 7);
    assert_true(back->epoch == m->epoch && back->attempt == 2);
    assert_true(back->created_ms == m->created_ms && back->deadline_ms == m->deadline_ms);
    assert_int_equal(back->body_len, 5);
    assert_memory_equal(back->body, m->body, 5);
    msg_free(m);
    msg_free(back);
    buf_free(&packed);
}

static void msg__every_truncation_is_refused(void **state)
{
    struct msg  *m = sample(), *back = NULL;
    struct buf   packed = {0};
    struct fault why;

    (void)state;
    msg_pack(m, &packed);
    for (size_t len = 0; len < packed.len; len++) {
        char *part = xmemdup(packed.data, len); /* exact size, so that a sanitizer sees a read beyond */

        assert_int_equal(msg_unpack(part, len, &back, &why), ERR_UNDECODABLE);
        assert_null(back);
        free(part);
    }
    msg_free(m);
    buf_free(&packed);
}

static void msg__wrong_types_and_ids_are_refused(void **state)
{
    static const char *const bad[] = {
        "{}\n",
        "[]\n",
        "{\"id\":\"x\",\"body\":0}\n",
        "{\"id\":\"0193489c-aaaa-7aaa-8aaa-aaaaaaaaaaaa\",\"body\":\"0\"}\n",
        "{\"id\":\"0193489c-aaaa-7aaa-8aaa-aaaaaaaaaaaa\",\"epoch\":\"1\",\"body\":0}\n",
        "{\"id\":\"0193489c-aaaa-7aaa-8aaa-aaaaaaaaaaaa\",\"kind\":\"0123456789012345678901234567890123456789\","
        "\"body\":0}\n",
        "{\"id\":\"0193489c-aaaa-7aaa-8aaa-aaaaaaaaaaaa\",\"body\":1}\n",
        "{\"id\":\"0193489c-aaaa-7aaa-8aaa-aaaaaaaaaaaa\",\"body\":0}\nx",
        "{\"id\":\"0193489c-aaaa-7aaa-8aaa-aaaaaaaaaaaa\",\"body\":-1}\n",
    };
    struct msg  *back = NULL;
    struct fault why;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(msg_unpack(bad[i], strlen(bad[i]), &back, &why), ERR_UNDECODABLE);
    assert_null(back);
}

static void msg__references_keep_it_alive_and_null_is_freed(void **state)
{
    struct msg *m = sample(), *copy;

    (void)state;
    msg_free(msg_ref(m));
    copy = msg_dup(m);
    msg_free(m);
    assert_int_equal(copy->body_len, 5);
    assert_string_equal(copy->params, "{\"iterations\":5}");
    msg_free(copy);
    msg_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(msg__packed_form_survives_the_round_trip),
        cmocka_unit_test(msg__every_truncation_is_refused),
        cmocka_unit_test(msg__wrong_types_and_ids_are_refused),
        cmocka_unit_test(msg__references_keep_it_alive_and_null_is_freed),
    };

    return cmocka_run_group_tests_name("msg", tests, NULL, NULL);
}
