/* SPDX-License-Identifier: Apache-2.0 */
/* test_command.c - the operator's list with every refusal, what a client may put into it, and what a run says and
 * leaves behind. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "kinds/command/fill.h"
#include "kinds/command/folder.h"
#include "kinds/command/media.h"
#include "kinds/command/tail.h"
#include "tests/unit/check.h"

/* ---- the list ------------------------------------------------------------------------ */

/* Reads a list of this text, with ' for ". */
static enum err read_list(const char *text, struct commands **out, struct fault *why)
{
    char     path[] = "/tmp/millrace-list-XXXXXX", *json = xstrdup(text);
    int      fd = mkstemp(path);
    enum err e;

    for (char *c = json; *c; c++)
        if (*c == '\'')
            *c = '"';
    assert_int_equal(write(fd, json, strlen(json)), strlen(json));
    close(fd);
    e = commands_read(path, out, why);
    if (e)
        assert_non_null(strstr(why->detail, path)); /* the file is named */
    unlink(path);
    free(json);
    return e;
}

static void expect_refusal(const char *text, const char *words)
{
    struct commands *list = NULL;
    struct fault     why = {0};

    assert_int_equal(read_list(text, &list, &why), ERR_CONFIG);
    assert_null(list);
    if (!strstr(why.detail, words))
        fail_msg("%s: '%s' is not in '%s'", text, words, why.detail);
}

/* An entry c with these fields behind its argv. */
static void expect_field_refusal(const char *argv, const char *more, const char *words)
{
    char *text;

    assert_true(asprintf(&text, "{'c': {'argv': [%s]%s%s}}", argv, *more ? ", " : "", more) > 0);
    expect_refusal(text, words);
    free(text);
}

static void list__what_is_no_list_of_commands_is_refused_with_its_line(void **state)
{
    struct commands *list = NULL;
    struct fault     why;

    (void)state;
    expect_refusal("", "line 1");
    expect_refusal("{\n'c':\n", "line 3");
    expect_refusal("[]", "must be a JSON object");
    expect_refusal("{}", "a command at least");
    expect_refusal("{'c': {'argv': ['/bin/true']}, 'c': {}}", "duplicate");
    assert_int_equal(commands_read("/nonexistent/list", &list, &why), ERR_CONFIG);
    assert_non_null(strstr(why.detail, "/nonexistent/list"));
    assert_non_null(strstr(why.detail, "No such file"));
    assert_int_equal(commands_read("/tmp", &list, &why), ERR_CONFIG);
    assert_non_null(strstr(why.detail, "Is a directory"));
    assert_int_equal(commands_read("/dev/zero", &list, &why), ERR_CONFIG);
    assert_non_null(strstr(why.detail, "too large"));
}

static void list__a_copy_stays_as_it_is(void **state)
{
    char             path[] = "/tmp/millrace-list-XXXXXX";
    int              file = mkstemp(path), copy = -1;
    const char       text[] = "{\"c\": {\"argv\": [\"/bin/true\"]}}";
    struct commands *list;
    struct fault     why;

    (void)state;
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    assert_int_equal(commands_copy(path, &copy, &why), ERR_OK);
    assert_int_equal(ftruncate(file, 1), 0);
    assert_int_equal(write(copy, "x", 1), -1);
    assert_int_equal(ftruncate(copy, 0), -1);
    for (int i = 0; i < 2; i++) { /* as often as it is wanted */
        assert_int_equal(commands_read_copy(copy, "a copy", &list, &why), ERR_OK);
        assert_non_null(commands_find(list, "c"));
        commands_free(list);
    }
    assert_int_equal(commands_read(path, &list, &why), ERR_CONFIG);
    close(copy);
    close(file);
    unlink(path);
}

static void list__an_entry_is_refused_by_its_name_and_field(void **state)
{
    (void)state;
    expect_refusal("{'a b': {'argv': ['/bin/true']}}", "command 'a b': a name has");
    expect_refusal("{'': {'argv': ['/bin/true']}}", "a name has");
    expect_refusal("{'c': []}", "command 'c': it must be an object");
    expect_refusal("{'c': {}}", "command 'c', argv: it is missing");
    expect_field_refusal("'/bin/true'", "'shell': true", "command 'c', shell: there is no such field");
    expect_field_refusal("", "", "argv: it must be a list of strings");
    expect_field_refusal("1", "", "argv: argument 0 is no string");
    expect_field_refusal("'/bin/true', 'a\\u0000b'", "", "is not allowed"); /* by the reader of JSON, with its line */
    expect_field_refusal("'true'", "", "must be an absolute path");
    expect_field_refusal("'/bin/{x}'", "", "without placeholders");
}

static void list__each_field_has_its_bounds(void **state)
{
    static const char *const cases[][2] = {
        {"'input': 'blob'", "input: it must be one of stdin|file|directory|none"},
        {"'input': 1", "input: it must be one of"},
        {"'input': 'file|directory'", "input: it must be one of"},
        {"'output': ''", "output: it must be one of stdout|file|directory"},
        {"'timeout_s': 0", "timeout_s: it must be a whole number of seconds from 1"},
        {"'timeout_s': 1.5", "timeout_s"},
        {"'memory_mib': 1", "memory_mib: it must be a whole number of MiB from 16"},
        {"'memory_mib': '1G'", "memory_mib"},
        {"'retry': 75", "retry: it must be a list"},
        {"'retry': [0]", "retry: exit codes are whole numbers from 1 to 255"},
        {"'retry': [256]", "retry: exit codes"},
        {"'retry': ['75']", "retry: exit codes"},
        {"'type': 'png'", "type: it must be a media type"},
        {"'type': '/png'", "type: it must be a media type"},
        {"'type': 'image/\\n'", "type: it must be a media type"},
        {"'network': 1", "network: it must be true or false"},
        {"'environment': []", "environment: it must be an object"},
        {"'environment': {'A=B': ''}", "environment: 'A=B' is no name"},
        {"'environment': {'1A': ''}", "environment: '1A' is no name"},
        {"'environment': {'A': 1}", "environment: the value of A must be a string"},
        {"'environment': {'HOME': '/'}", "environment: HOME cannot be set here"},
        {"'environment': {'MILLRACE_X': '/'}", "environment: MILLRACE_X cannot be set here"},
        {"'parameters': []", "parameters: it must be an object"},
        {"'parameters': {'Size': {'pattern': ''}}", "parameters: 'Size' cannot be the name"},
        {"'parameters': {'timeout': {'pattern': ''}}", "parameters: 'timeout' cannot be the name"},
        {"'parameters': {'command': {'pattern': ''}}", "parameters: 'command' cannot be the name"},
        {"'parameters': {'group': {'pattern': ''}}", "parameters: 'group' cannot be the name"},
        {"'parameters': {'in': {'pattern': ''}}", "parameters: 'in' cannot be the name"},
        {"'parameters': {'p': '[0-9]'}", "parameters: p must be an object"},
        {"'parameters': {'p': {}}", "parameters: p must be an object"},
        {"'parameters': {'p': {'pattern': '', 'help': ''}}", "parameters: p must be an object"},
        {"'parameters': {'p': {'pattern': '['}}", "parameters: the pattern of p: "},
        {"'parameters': {'p': {'pattern': 'a)|(b'}}", "parameters: the pattern of p: "},
        {"'parameters': {'p': {'pattern': '[0-9]+', 'default': 'x'}}", "parameters: the default of p does not match"},
        {"'parameters': {'p': {'pattern': '[0-9]+', 'default': 1}}", "parameters: the default of p must be a string"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_field_refusal("'/bin/true'", cases[i][0], cases[i][1]);
}

static void list__placeholders_need_something_to_stand_for(void **state)
{
    (void)state;
    expect_field_refusal("'/bin/true', '{p}'", "", "argv: {p} stands for no parameter");
    expect_field_refusal("'/bin/true', '{}'", "", "argv: {} stands for no parameter");
    expect_field_refusal("'/bin/true', '{p'", "", "argv: '{p' has a brace");
    expect_field_refusal("'/bin/true', 'p}'", "", "argv: 'p}' has a brace");
    expect_field_refusal("'/bin/true', '{p{q}}'", "", "has a brace");
    expect_field_refusal("'/bin/true', '{in}'", "", "argv: {in} is there if and only if");
    expect_field_refusal("'/bin/true'", "'input': 'file'", "argv: {in} is there if and only if");
    expect_field_refusal("'/bin/true', '{out}'", "", "argv: {out} is there if and only if");
    expect_field_refusal("'/bin/true'", "'output': 'directory'", "argv: {out} is there if and only if");
}

static void list__the_program_has_to_be_there_and_to_be_runnable(void **state)
{
    struct commands *list;
    struct fault     why;

    (void)state;
    assert_int_equal(read_list("{'c': {'argv': ['/bin/true']}}", &list, &why), ERR_OK);
    assert_int_equal(commands_check_programs(list, &why), ERR_OK);
    commands_free(list);
    assert_int_equal(read_list("{'c': {'argv': ['/nonexistent']}}", &list, &why), ERR_OK);
    assert_int_equal(commands_check_programs(list, &why), ERR_CONFIG);
    assert_non_null(strstr(why.detail, "command 'c', argv: the program /nonexistent is not there"));
    commands_free(list);
    commands_free(NULL);
}

/* ---- what a client chose ---------------------------------------------------------------- */

#define LIST                                                                                                           \
    "{'c': {'argv': ['/bin/x', '{in}', '-o{out}.png', '{{{size}}}', '{size}{mode}', '{mode}'],"                        \
    " 'input': 'file', 'output': 'file', 'parameters': {'size': {'pattern': '[0-9]{1,3}|auto'},"                       \
    " 'mode': {'pattern': '(a|b)*', 'default': 'ab'}}, 'retry': [75, 137], 'timeout_s': 5, 'memory_mib': 20,"          \
    " 'environment': {'A': 'b=c'}, 'type': 'image/png', 'network': true}, 'd': {'argv': ['/bin/true']}}"

static struct commands *list_of(const char *text)
{
    struct commands *list = NULL;
    struct fault     why = {0};

    if (read_list(text, &list, &why))
        fail_msg("%s", why.detail);
    return list;
}

/* Args of name, value pairs, the last name NULL. */
static struct args args_of(const char *const *pairs)
{
    struct args  args;
    struct fault why;

    args_init(&args);
    for (; *pairs; pairs += 2)
        assert_int_equal(args_set(&command_spec, &args, pairs[0], pairs[1], &why), ERR_OK);
    assert_int_equal(args_complete(&command_spec, &args, &why), ERR_OK);
    return args;
}

static void list__the_fields_are_what_they_say(void **state)
{
    struct commands      *list = list_of(LIST);
    const struct command *c = commands_find(list, "c"), *d = commands_find(list, "d");

    (void)state;
    assert_null(commands_find(list, "e"));
    assert_int_equal(c->input, INPUT_FILE);
    assert_int_equal(c->output, OUTPUT_FILE);
    assert_true(c->is_retry[75] && c->is_retry[137] && !c->is_retry[1]);
    assert_int_equal(c->timeout_s, 5);
    assert_int_equal(c->memory_max, 20 << 20);
    assert_string_equal(c->environment[0], "A=b=c");
    assert_null(c->environment[1]);
    assert_string_equal(c->type, "image/png");
    assert_true(c->has_network);
    assert_int_equal(d->input, INPUT_STDIN);
    assert_int_equal(d->output, OUTPUT_STDOUT);
    assert_false(d->has_network);
    assert_string_equal(d->type, "");
    commands_free(list);
}

static void fill__values_stand_for_their_placeholders_within_one_argument(void **state)
{
    static const char *const pairs[] = {"command", "c", "size", "12", NULL};
    static const char *const expected[] = {"/bin/x", "/r/in/a b", "-o/r/out.png", "{12}", "12ab", "ab", NULL};
    struct commands         *list = list_of(LIST);
    struct args              args = args_of(pairs);
    const struct command    *c;
    struct fault             why;
    char                   **argv;

    (void)state;
    assert_int_equal(command_choose(list, &args, &c, &why), ERR_OK);
    argv = command_argv(c, &args, "/r/in/a b", "/r/out");
    for (size_t i = 0; expected[i] || argv[i]; i++)
        assert_string_equal(argv[i], expected[i]);
    assert_string_equal(command_input_name(&args), "input");
    strings_free(argv);
    commands_free(list);
}

static void fill__what_does_not_match_is_refused(void **state)
{
    static const char *const cases[][6] = {
        /* name, value, name, value, words */
        {"command", "x", "size", "1", "there is no command 'x'"},
        {"command", "c", "size", "1234", "size of the command c must match [0-9]{1,3}|auto, not '1234'"},
        {"command", "c", "size", "12x", "must match"},
        {"command", "c", "size", "xauto", "must match"},
        {"command", "c", "size", "autox", "must match"},
        {"command", "c", "size", "-1", "must match"},
        {"command", "c", "size", "$(id)", "must match"},
        {"command", "c", "size", "", "must match"},
        {"command", "c", "mode", "a", "size is missing"},
        {"command", "d", "size", "1", "the command d has no parameter 'size'"},
        {"command", "d", "name", "../x", "name must be that of a file"},
        {"command", "d", "name", "-x", "name must be that of a file"},
        {"command", "d", "name", "..", "name must be that of a file"},
    };
    struct commands      *list = list_of(LIST);
    const struct command *c = NULL;
    struct fault          why;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct args args = args_of((const char *const[]){cases[i][0], cases[i][1], cases[i][2], cases[i][3], NULL});

        assert_int_equal(command_choose(list, &args, &c, &why), ERR_PARAM);
        if (!strstr(why.detail, cases[i][4]))
            fail_msg("'%s' is not in '%s'", cases[i][4], why.detail);
        assert_int_equal(command_choose(NULL, &args, &c, &why), ERR_PARAM);
        assert_non_null(strstr(why.detail, "MILLRACE_COMMANDS_FILE"));
    }
    assert_null(c);
    commands_free(list);
}

static void fill__a_pattern_matches_all_of_a_value_however_it_is_written(void **state)
{
    static const char *const cases[][3] = {
        /* pattern, what it takes, what it does not */
        {"a)|b", "b", "a; rm"},
        {"a)|b", "a)", "xb)"},
        {"a|ab", "ab", "abc"},
        {"^a$", "a", "aa"},
        {"x*", "xx", "xay"},
        {"", "", "a"},
        {"([ab])-\\\\1", "a-a", "a-b"},
        {"a|b|", "", "ab"},
        {"[^/]+", "a.b", "a/"},
        {"(a|ab)(c|bcd)", "abcd", "abcdd"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct commands            *list;
        const struct command_param *p;
        char                       *text;

        assert_true(
            asprintf(&text, "{'c': {'argv': ['/bin/true'], 'parameters': {'p': {'pattern': '%s'}}}}", cases[i][0]) > 0);
        list = list_of(text);
        p = command_param_find(commands_find(list, "c"), "p");
        if (!command_param_takes(p, cases[i][1]))
            fail_msg("%s does not take '%s'", cases[i][0], cases[i][1]);
        if (command_param_takes(p, cases[i][2]))
            fail_msg("%s takes '%s'", cases[i][0], cases[i][2]);
        commands_free(list);
        free(text);
    }
}

static void spec__an_input_is_checked_by_what_the_command_takes(void **state)
{
    struct commands *list = list_of("{'none': {'argv': ['/bin/true'], 'input': 'none'}, 'd': {'argv': ['/bin/true']}}");
    const struct limits limits = {.inline_max = 1024, .result_max = 77, .commands = list};
    struct args         none = args_of((const char *const[]){"command", "none", NULL});
    struct args         some = args_of((const char *const[]){"command", "d", NULL});
    struct input        empty = {.refs = ""}, byte = {"x", 1, ""}, large = {NULL, 1025, ""};
    struct fault        why;
    uint64_t            bytes = 0;

    (void)state;
    assert_int_equal(command_spec.check(&none, &empty, &limits, &bytes, &why), ERR_OK);
    assert_int_equal(bytes, 77);
    assert_int_equal(command_spec.check(&none, &byte, &limits, &bytes, &why), ERR_BODY);
    assert_int_equal(command_spec.check(&some, &empty, &limits, &bytes, &why), ERR_OK);
    assert_int_equal(command_spec.check(&some, &byte, &limits, &bytes, &why), ERR_OK);
    assert_int_equal(command_spec.check(&some, &large, &limits, &bytes, &why), ERR_TOO_LARGE);
    commands_free(list);
}

/* ---- what it said, and of which type its result is ------------------------------------------ */

static void expect_tail(const char *said, const char *line)
{
    struct tail t = {.len = 0};
    char        out[TAIL_BYTES + 1];

    tail_add(&t, said, strlen(said));
    tail_print(&t, out);
    assert_string_equal(out, line);
}

static void tail__is_one_printable_line(void **state)
{
    (void)state;
    expect_tail("", "");
    expect_tail("\n\r\n", "");
    expect_tail("\na\r\n\nb\n", "a | b");
    expect_tail("a\tb\x01\x7f\x1b[0m", "a b???[0m");
    expect_tail("Gr\xc3\xb6\xc3\x9f"
                "e \xe2\x82\xac \xf0\x9f\x99\x82",
                "Gr\xc3\xb6\xc3\x9f"
                "e \xe2\x82\xac \xf0\x9f\x99\x82");
    expect_tail("\xff\xc3 \xc0\x80 \xed\xa0\x80 \xf5\x80\xe2\x82", "?? ?? ??? ????");
}

static void tail__keeps_the_last_of_any_amount(void **state)
{
    struct tail t = {.len = 0};
    char        out[TAIL_BYTES + 1], piece[3000];

    (void)state;
    memset(piece, 'a', sizeof piece);
    for (size_t len = 1; len < sizeof piece; len += 7) {
        tail_add(&t, piece, len);
        tail_add(&t, "\xc3\xb6", 2);
    }
    tail_print(&t, out);
    assert_int_equal(strlen(out), TAIL_BYTES);
    assert_string_equal(out + TAIL_BYTES - 3, "a\xc3\xb6");
    memset(piece, '\n', sizeof piece);
    for (size_t i = 0; i < sizeof piece; i += 2)
        piece[i] = 'x';
    tail_add(&t, piece, sizeof piece);
    tail_print(&t, out);
    assert_int_equal(strlen(out), TAIL_BYTES); /* what is put between lines counts */
    assert_string_equal(out + TAIL_BYTES - 5, "x | x");
}

static void media__is_known_by_name_and_by_beginning(void **state)
{
    (void)state;
    assert_string_equal(media_of_name("a.b.PNG"), "image/png");
    assert_string_equal(media_of_name(".jpg"), "image/jpeg");
    assert_null(media_of_name("png"));
    assert_null(media_of_name("a."));
    assert_null(media_of_name("a.unheard"));
    assert_string_equal(media_of_bytes("RIFF....WEBPVP8 ", 16), "image/webp");
    assert_string_equal(media_of_bytes("II*\0....", 8), "image/tiff");
    assert_null(media_of_bytes("RIFF....WEB", 11));
    assert_null(media_of_bytes("", 0));
}

/* ---- the private folder ----------------------------------------------------------------------- */

static int make_scratch(void **state)
{
    char *path = xstrdup("/tmp/millrace-scratch-XXXXXX");

    assert_non_null(mkdtemp(path));
    setenv("TMPDIR", path, 1);
    *state = path;
    return 0;
}

static int remove_scratch(void **state)
{
    unsetenv("TMPDIR");
    assert_int_equal(rmdir(*state), 0); /* nothing is left in it */
    free(*state);
    return 0;
}

static void folder__goes_with_all_that_is_in_it(void **state)
{
    struct folder f;
    struct fault  why;
    struct stat   s;
    int           at;

    (void)state;
    assert_int_equal(folder_make(&f, &why), ERR_OK);
    assert_int_equal(stat(f.path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0700);
    at = dup(f.fd);
    for (int i = 0; i < 2000; i++) { /* deeper than any path may be long */
        int inner;

        assert_int_equal(mkdirat(at, "a-folder", 0700), 0);
        assert_int_equal(mknodat(at, "+1", S_IFREG | 0600, 0), 0);
        inner = openat(at, "a-folder", O_RDONLY | O_DIRECTORY);
        assert_true(inner >= 0);
        assert_int_equal(fchmod(at, i ? 0 : 0700), 0);
        close(at);
        at = inner;
    }
    close(at);
    assert_int_equal(symlinkat("/tmp", f.fd, "link"), 0);
    folder_remove(&f);
    assert_int_equal(stat(f.path, &s), -1);
    folder_remove(&f); /* once more: nothing */
}

static void folder__a_sweep_takes_what_nobody_holds(void **state)
{
    struct folder held, left;
    struct fault  why;
    char          other[100];

    assert_int_equal(folder_make(&held, &why), ERR_OK);
    assert_int_equal(folder_make(&left, &why), ERR_OK);
    snprintf(other, sizeof other, "%s/other", (char *)*state);
    assert_int_equal(mkdir(other, 0700), 0);
    folder_leave(&left);
    folder_sweep();
    assert_int_equal(access(left.path, F_OK), -1);
    assert_int_equal(access(held.path, F_OK), 0);
    assert_int_equal(rmdir(other), 0);
    folder_remove(&held);
}

static void folder__one_that_cannot_be_made_says_where(void **state)
{
    struct folder f;
    struct fault  why;

    setenv("TMPDIR", "/nonexistent", 1);
    assert_int_equal(folder_make(&f, &why), ERR_IO);
    assert_non_null(strstr(why.detail, "/nonexistent/millrace-run-"));
    folder_sweep();
    setenv("TMPDIR", "scratch", 1); /* the program would look for it somewhere else */
    assert_int_equal(folder_make(&f, &why), ERR_IO);
    assert_non_null(strstr(why.detail, "no absolute path: scratch"));
    setenv("TMPDIR", *state, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list__what_is_no_list_of_commands_is_refused_with_its_line),
        cmocka_unit_test(list__a_copy_stays_as_it_is),
        cmocka_unit_test(list__an_entry_is_refused_by_its_name_and_field),
        cmocka_unit_test(list__each_field_has_its_bounds),
        cmocka_unit_test(list__placeholders_need_something_to_stand_for),
        cmocka_unit_test(list__the_program_has_to_be_there_and_to_be_runnable),
        cmocka_unit_test(list__the_fields_are_what_they_say),
        cmocka_unit_test(fill__values_stand_for_their_placeholders_within_one_argument),
        cmocka_unit_test(fill__what_does_not_match_is_refused),
        cmocka_unit_test(fill__a_pattern_matches_all_of_a_value_however_it_is_written),
        cmocka_unit_test(spec__an_input_is_checked_by_what_the_command_takes),
        cmocka_unit_test(tail__is_one_printable_line),
        cmocka_unit_test(tail__keeps_the_last_of_any_amount),
        cmocka_unit_test(media__is_known_by_name_and_by_beginning),
        cmocka_unit_test_setup_teardown(folder__goes_with_all_that_is_in_it, make_scratch, remove_scratch),
        cmocka_unit_test_setup_teardown(folder__a_sweep_takes_what_nobody_holds, make_scratch, remove_scratch),
        cmocka_unit_test_setup_teardown(folder__one_that_cannot_be_made_says_where, make_scratch, remove_scratch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
