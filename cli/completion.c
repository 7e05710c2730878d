/* SPDX-License-Identifier: Apache-2.0 */
/* completion.c - millrace completion bash|zsh|fish: scripts for the shells, from the tables that the parser reads. */
#include <string.h>

#include "cli/cli.h"

/* What follows an option is a value for these. */
static void put_value_options(const struct option *table)
{
    for (const struct option *o = table; o && o->name; o++) {
        if (o->type == OPTION_FLAG)
            continue;
        printf("|--%s", o->name);
        if (o->letter)
            printf("|-%c", o->letter);
    }
}

static void put_options(const struct option *table)
{
    for (const struct option *o = table; o && o->name; o++) {
        printf(" --%s", o->name);
        if (o->letter)
            printf(" -%c", o->letter);
    }
}

static void put_verbs(void)
{
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->is_hidden)
            printf(" %s", (*v)->name);
}

/* ---- bash ----------------------------------------------------------------- */

/* Cases on "verb:word before the cursor": what completes the value of an option. */
static void put_bash_values(const struct verb *v)
{
    for (const struct option *o = v->options; o && o->name; o++) {
        if (o->type == OPTION_FLAG)
            continue;
        printf("    %s:--%s", v->name, o->name);
        if (o->letter)
            printf("|%s:-%c", v->name, o->letter);
        if (o->type == OPTION_FILE)
            puts(") _millrace_files \"$word\"; return ;;");
        else
            printf(") COMPREPLY=($(compgen -W '%s' -- \"$word\")); return ;;\n", o->words ? o->words : "");
    }
}

static void put_bash_operands(const struct verb *v)
{
    printf("    %s) options='", v->name);
    put_options(v->options);
    printf("' operands='");
    if (v->completes == OPERAND_WORD)
        printf("%s", v->words);
    if (v->completes == OPERAND_VERB)
        put_verbs();
    printf("' files=%d ;;\n", v->completes == OPERAND_FILE);
}

static void print_bash(void)
{
    puts("# bash completion of millrace, printed by: millrace completion bash\n"
         "_millrace_files() { # a line each: names have blanks\n"
         "    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$1\")\n"
         "}\n"
         "_millrace() {\n"
         "    COMPREPLY=()\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
         "    local verb='' skip=0 files=0 options='' operands='' i\n"
         "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "        if ((skip)); then skip=0; continue; fi\n"
         "        case ${COMP_WORDS[i]} in");
    fputs("        ", stdout);
    fputs("''", stdout);
    put_value_options(common_options);
    puts(") skip=1 ;;\n"
         "        -*) ;;\n"
         "        *) verb=${COMP_WORDS[i]}; break ;;\n"
         "        esac\n"
         "    done\n"
         "    case $before in");
    fputs("    ''", stdout);
    put_value_options(common_options);
    puts(") return ;;\n    esac\n    case $verb:$before in");
    for (const struct verb *const *v = verbs; *v; v++)
        put_bash_values(*v);
    puts("    esac\n    case $verb in");
    fputs("    '') operands='", stdout);
    put_verbs();
    puts("' ;;");
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->is_hidden)
            put_bash_operands(*v);
    fputs("    esac\n    if [[ $word == -* ]]; then\n        COMPREPLY=($(compgen -W \"$options", stdout);
    put_options(common_options);
    puts("\" -- \"$word\"))\n"
         "    else\n"
         "        COMPREPLY=($(compgen -W \"$operands\" -- \"$word\"))\n"
         "        ((files)) && _millrace_files \"$word\"\n"
         "    fi\n"
         "}\n"
         "complete -o filenames -F _millrace millrace");
}

/* ---- zsh -------------------------------------------------------------------- */

/* Text between single quotes in an _arguments specification. */
static void put_zsh(const char *text)
{
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
}

static void put_zsh_spec(const struct option *o, const char *dashes, const char *name)
{
    printf(" \\\n        '*%s%s%s[", dashes, name, o->type == OPTION_FLAG ? "" : *dashes && dashes[1] ? "=" : "+");
    put_zsh(o->help);
    putchar(']');
    if (o->type == OPTION_FILE)
        printf(":%s:_files", o->value);
    else if (o->words)
        printf(":%s:(%s)", o->value, o->words);
    else if (o->type != OPTION_FLAG)
        printf(":%s: ", o->value);
    putchar('\'');
}

static void put_zsh_options(const struct option *table)
{
    for (const struct option *o = table; o && o->name; o++) {
        const char letter[] = {o->letter, '\0'};

        put_zsh_spec(o, "--", o->name);
        if (o->letter)
            put_zsh_spec(o, "-", letter);
    }
}

static void put_zsh_verb(const struct verb *v)
{
    printf("    %s) _arguments", v->name);
    put_zsh_options(v->options);
    put_zsh_options(common_options);
    if (v->completes == OPERAND_FILE)
        fputs(" \\\n        '*:file:_files'", stdout);
    if (v->completes == OPERAND_WORD)
        printf(" \\\n        '1:what:(%s)'", v->words);
    if (v->completes == OPERAND_VERB) {
        fputs(" \\\n        '1:verb:(", stdout);
        put_verbs();
        fputs(")'", stdout);
    }
    puts(" ;;");
}

static void print_zsh(void)
{
    puts("#compdef millrace\n"
         "# zsh completion of millrace, printed by: millrace completion zsh\n"
         "_millrace() {\n"
         "    local context state state_descr line ret=1\n"
         "    typeset -A opt_args\n"
         "    local -a verbs\n"
         "    verbs=(");
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->is_hidden) {
            printf("        '%s:", (*v)->name);
            put_zsh((*v)->summary);
            puts("'");
        }
    fputs("    )\n    _arguments -C", stdout);
    put_zsh_options(common_options);
    puts(" \\\n        '1: :->verb' '*:: :->rest' && ret=0\n"
         "    [[ $state == verb ]] && { _describe verb verbs; return }\n"
         "    [[ $state == rest ]] || return ret\n"
         "    case $words[1] in");
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->is_hidden)
            put_zsh_verb(*v);
    puts("    esac\n}\n"
         "if [[ $funcstack[1] == _millrace ]]; then _millrace \"$@\"; else compdef _millrace millrace; fi");
}

/* ---- fish ------------------------------------------------------------------- */

static void put_fish(const char *text)
{
    for (; *text; text++)
        if (*text == '\'' || *text == '\\')
            printf("\\%c", *text);
        else
            putchar(*text);
}

static void put_fish_options(const char *condition, const struct option *table)
{
    for (const struct option *o = table; o && o->name; o++) {
        printf("complete -c millrace%s -l %s", condition, o->name);
        if (o->letter)
            printf(" -s %c", o->letter);
        if (o->type == OPTION_FILE)
            fputs(" -r -F", stdout);
        else if (o->words)
            printf(" -x -a '%s'", o->words);
        else if (o->type != OPTION_FLAG)
            fputs(" -x", stdout);
        fputs(" -d '", stdout);
        put_fish(o->help);
        puts("'");
    }
}

static void put_fish_verb(const struct verb *v)
{
    char condition[80];

    printf("complete -c millrace -n __fish_use_subcommand -a %s -d '", v->name);
    put_fish(v->summary);
    puts("'");
    snprintf(condition, sizeof condition, " -n '__fish_seen_subcommand_from %s'", v->name);
    put_fish_options(condition, v->options);
    if (v->completes == OPERAND_FILE)
        printf("complete -c millrace%s -F\n", condition);
    if (v->completes == OPERAND_WORD)
        printf("complete -c millrace%s -a '%s'\n", condition, v->words);
    if (v->completes == OPERAND_VERB) {
        printf("complete -c millrace%s -a '", condition);
        put_verbs();
        puts("'");
    }
}

static void print_fish(void)
{
    puts("# fish completion of millrace, printed by: millrace completion fish\ncomplete -c millrace -f");
    put_fish_options("", common_options);
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->is_hidden)
            put_fish_verb(*v);
}

/* ---- the verb ---------------------------------------------------------------- */

static enum outcome run(struct cli *cli)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};

    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (!strcmp(cli->line.operands[0], shells[i].name)) {
            shells[i].print();
            return EXIT_OK;
        }
    return give_up(EXIT_USAGE, "'%.40s' is no shell that millrace knows; bash, zsh and fish are",
                   cli->line.operands[0]);
}

const struct verb verb_completion = {
    .name = "completion",
    .operands = "bash|zsh|fish",
    .summary = "Print a script that teaches the shell to complete",
    .text =
        "For bash: source <(millrace completion bash). For zsh put it as _millrace into a folder of $fpath, for fish\n"
        "as millrace.fish into ~/.config/fish/completions.\n",
    .operands_min = 1,
    .operands_max = 1,
    .completes = OPERAND_WORD,
    .words = "bash zsh fish",
    .is_offline = true,
    .run = run,
};
