/* table_choice.c: names of --columns are those of gates, as --list-metrics prints them. */
#include "table_choice.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Those of a whole model that the terminal has a width for. */
static bool has_column(const struct mq_figure *f)
{
    return f->scope == MQ_OF_MODEL && f->width > 0;
}

static bool choose(const char *command, const char *name, size_t n, struct mq_table_choice *choice)
{
    const char *names[MQ_FIGURE_COUNT];
    char word[MQ_METRIC_NAME];
    size_t count = 0;
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++) {
        if (!has_column(f))
            continue;
        names[count++] = f->id;
        /* routing.exact_set may go without its routing */
        const char *dot = strrchr(f->id, '.'), *last = dot ? dot + 1 : f->id;
        const bool whole = strlen(f->id) == n && memcmp(f->id, name, n) == 0;
        if (whole ||
            (f->section == MQ_SECTION_ROUTING && strlen(last) == n && memcmp(last, name, n) == 0))
            return choice->columns[f - mq_figures] = true;
    }
    if (n >= sizeof word)
        n = sizeof word - 1;
    memcpy(word, name, n);
    word[n] = '\0';
    const char *near = mq_nearest(word, names, count);
    if (near)
        mq_usage(command, "--columns: unknown column '%s'; did you mean %s?", word, near);
    else
        mq_usage(command, "--columns: unknown column '%s'; moeq verify --list-metrics lists them",
                 word);
    return false;
}

bool mq_table_choose(const char *command, const struct mq_options *options,
                     struct mq_table_choice *choice)
{
    *choice = (struct mq_table_choice){.all = options->verbose,
                                       .chosen = options->columns != NULL,
                                       .color = mq_color_wanted(options)};
    for (const char *at = options->columns; at && *at;) {
        const size_t n = strcspn(at, ",");
        if (n && !choose(command, at, n, choice))
            return false;
        at += n + (at[n] == ',');
    }
    return true;
}

bool mq_color_wanted(const struct mq_options *options)
{
    const char *none = getenv("NO_COLOR"), *term = getenv("TERM");
    if (options->color && strcmp(options->color, "auto") != 0)
        return strcmp(options->color, "always") == 0;
    return isatty(STDOUT_FILENO) && !(none && *none) && !(term && strcmp(term, "dumb") == 0);
}

const char *mq_color(bool color, enum mq_color which)
{
    static const char *const codes[] = {[MQ_COLOR_NONE] = "\033[0m",
                                        [MQ_COLOR_GOOD] = "\033[32m",
                                        [MQ_COLOR_FAIR] = "\033[33m",
                                        [MQ_COLOR_BAD] = "\033[1;31m"};
    return color ? codes[which] : "";
}
