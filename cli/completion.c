/*
 * completion.c: scripts of shells, made of the tables that help is made of.
 *
 * What follows an option is told by the word that help has for its value: LEVEL, a choice between
 * bars, a FILE. Everything else is completed as the shell completes files.
 */
#include "completion.h"

#include "command.h"
#include "levels.h"
#include "recipes.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* The first words after `moeq` that are no rows of the table of commands. */
#define OTHER_FIRST_WORDS "help completion --help --version"

/* A choice: small letters, digits and bars, at least one bar. */
static bool is_choice(const char *value)
{
    return strchr(value, '|') && strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789,|") == strlen(value);
}

static void print_levels(void)
{
    for (size_t i = 0; i < mq_levels_count; i++)
        if (mq_level_can_encode(&mq_levels[i]))
            printf(" %s", mq_levels[i].name);
}

/* The words that an option's value can be, each after a space; nothing where they are not known. */
static void print_values(const struct mq_option_words *o)
{
    if (strcmp(o->name, "effort") == 0)
        printf(" default best calibrated");
    else if (strcmp(o->name, "recipe") == 0)
        for (size_t i = 0; i < mq_recipes_count; i++)
            printf(" %s", mq_recipes[i].name);
    else if (strcmp(o->value, "LEVEL") == 0)
        print_levels();
    else if (is_choice(o->value))
        for (const char *p = o->value; *p; p++)
            printf("%s%c", p == o->value ? " " : "", *p == '|' ? ' ' : *p);
}

static bool has_values(const struct mq_option_words *o)
{
    return o->value && (strcmp(o->name, "effort") == 0 || strcmp(o->name, "recipe") == 0 ||
                        strcmp(o->value, "LEVEL") == 0 || is_choice(o->value));
}

static void print_commands(void)
{
    for (size_t i = 0; i < mq_commands_count; i++)
        printf("%s ", mq_commands[i].name);
    printf(OTHER_FIRST_WORDS);
}

/* ---- bash ---- */

static void print_bash(void)
{
    struct mq_option_words o;
    printf("# moeq completion for bash: source this, or keep it in\n"
           "# ~/.local/share/bash-completion/completions/moeq\n"
           "_moeq() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
           "        COMPREPLY=($(compgen -W '");
    print_commands();
    printf("' -- \"$cur\"))\n        return\n    fi\n    case $prev in\n");
    for (size_t i = 0; mq_option_at(NULL, i, &o); i++) {
        if (!has_values(&o))
            continue;
        printf("    --%s) words='", o.name);
        print_values(&o);
        printf("' ;;\n");
    }
    printf("    *)\n        case $cur in -*) ;; *) return ;; esac\n"
           "        case ${COMP_WORDS[1]} in\n");
    for (size_t c = 0; c < mq_commands_count; c++) {
        printf("        %s) words='", mq_commands[c].name);
        for (size_t i = 0; mq_option_at(NULL, i, &o); i++)
            if (mq_option_at(&mq_commands[c], i, &o))
                printf(" --%s", o.name);
        printf("' ;;\n");
    }
    printf("        esac ;;\n    esac\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
           "}\n"
           "complete -o bashdefault -o default -F _moeq moeq\n");
}

/* ---- zsh ---- */

/* A text between single quotes of _arguments, where brackets and colons mean something. */
static void print_zsh_text(const char *text)
{
    for (; *text; text++) {
        if (strchr("[]:\\", *text))
            putchar('\\');
        if (*text == '\'')
            printf("'\\'");
        putchar(*text);
    }
}

static void print_zsh_option(const struct mq_option_words *o)
{
    printf(" \\\n            '%s--%s[", o->repeats ? "*" : "", o->name);
    print_zsh_text(o->help);
    printf("]");
    if (o->value) {
        printf(":");
        print_zsh_text(o->value);
        printf(":");
        if (has_values(o)) {
            printf("(");
            print_values(o);
            printf(" )");
        } else {
            printf("_files");
        }
    }
    printf("'");
}

static void print_zsh(void)
{
    struct mq_option_words o;
    printf("#compdef moeq\n"
           "# moeq completion for zsh: keep it as _moeq in a folder of $fpath, or source it.\n"
           "_moeq() {\n"
           "    local -a commands\n"
           "    commands=(\n");
    for (size_t c = 0; c < mq_commands_count; c++) {
        printf("        '%s:", mq_commands[c].name);
        print_zsh_text(mq_commands[c].summary);
        printf("'\n");
    }
    printf("    )\n"
           "    if (( CURRENT == 2 )); then\n"
           "        _describe command commands\n"
           "        return\n"
           "    fi\n"
           "    local command=$words[2]\n"
           "    shift words\n"
           "    (( CURRENT-- ))\n"
           "    case $command in\n");
    for (size_t c = 0; c < mq_commands_count; c++) {
        printf("        %s) _arguments -S", mq_commands[c].name);
        for (size_t i = 0; mq_option_at(NULL, i, &o); i++)
            if (mq_option_at(&mq_commands[c], i, &o))
                print_zsh_option(&o);
        printf(" \\\n            '*:file:_files' ;;\n");
    }
    printf("    esac\n"
           "}\n"
           "if [ \"$funcstack[1]\" = _moeq ]; then _moeq \"$@\"; else compdef _moeq moeq; fi\n");
}

/* ---- fish ---- */

static void print_fish_text(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

static void print_fish_option(const struct mq_command *command, const struct mq_option_words *o)
{
    printf("complete -c moeq -n '__fish_seen_subcommand_from %s' -l %s", command->name, o->name);
    if (o->letter)
        printf(" -s %c", o->letter);
    if (o->value)
        printf(" -r");
    if (has_values(o)) {
        printf(" -f -a '");
        print_values(o);
        printf("'");
    }
    printf(" -d ");
    print_fish_text(o->help);
    printf("\n");
}

static void print_fish(void)
{
    struct mq_option_words o;
    printf("# moeq completion for fish: keep it as ~/.config/fish/completions/moeq.fish\n");
    for (size_t c = 0; c < mq_commands_count; c++) {
        printf("complete -c moeq -n __fish_use_subcommand -f -a %s -d ", mq_commands[c].name);
        print_fish_text(mq_commands[c].summary);
        printf("\n");
    }
    for (size_t c = 0; c < mq_commands_count; c++)
        for (size_t i = 0; mq_option_at(NULL, i, &o); i++)
            if (mq_option_at(&mq_commands[c], i, &o))
                print_fish_option(&mq_commands[c], &o);
}

const struct mq_completion mq_completions[] = {
    {"bash", print_bash},
    {"zsh", print_zsh},
    {"fish", print_fish},
};
const size_t mq_completions_count = sizeof mq_completions / sizeof *mq_completions;
