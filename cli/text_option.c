/* text_option.c: see text_option.h. */
#include "text_option.h"

#include "error.h"
#include "file.h"
#include "json.h"
#include "open_options.h"
#include "output_path.h"
#include "report_files.h"
#include "terminal_text.h"
#include "text_match.h"
#include "what_is_it.h"

#include <stdlib.h>
#include <string.h>

size_t mq_text_option_split(const char *value, const char **path)
{
    const size_t n = strcspn(value, "=/");
    *path = value;
    if (n == 0 || value[n] != '=' || mq_path_exists(value))
        return 0;
    *path = value + n + 1;
    return n;
}

/* Of --text as it was given: its file, and the name of its domain (of one without: the file's). */
struct item {
    const char *path;
    char *name;
    size_t place, number; /* of the first with this name; its own */
};

static moeq_status read_item(const char *value, struct item *item, bool *named, moeq_error *err)
{
    const size_t n = mq_text_option_split(value, &item->path);
    size_t bad;
    const char *base = strcmp(item->path, "-") == 0 ? "standard input" : mq_base_name(item->path);
    item->name = n ? strndup(value, n) : strdup(base);
    *named |= n > 0;
    if (!item->name)
        return mq_fail_memory(err, "reading texts");
    if (!item->path[0] || !mq_utf8_valid(item->name, strlen(item->name), &bad) ||
        mq_has_controls(item->name))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "--text '%s': expected FILE or NAME=FILE, with a name in UTF-8 and on one line", value);
    return mq_refuse_no_text(item->path, err);
}

/* Those of one name stand together, where the first of them stood. */
static int by_place(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->place != y->place)
        return x->place < y->place ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static moeq_status read_items(const struct mq_options *options, struct item *items, bool *named,
                              moeq_error *err)
{
    const size_t n = options->text.count;
    for (size_t i = 0; i < n; i++) {
        MQ_TRY(read_item(options->text.values[i], &items[i], named, err));
        items[i].number = i;
        while (strcmp(items[items[i].place].name, items[i].name) != 0)
            items[i].place++;
    }
    if (*named)
        qsort(items, n, sizeof *items, by_place);
    return MOEQ_OK;
}

moeq_status mq_option_text(const struct mq_options *options, struct mq_text *text, moeq_error *err)
{
    const size_t n = options->text.count;
    struct item *items = calloc(n + 1, sizeof *items);
    const char **paths = calloc(n + 1, sizeof *paths);
    bool named = false;
    moeq_status status = items && paths ? MOEQ_OK : mq_fail_memory(err, "reading texts");
    *text = (struct mq_text){0};
    if (status == MOEQ_OK)
        status = read_items(options, items, &named, err);
    for (size_t i = 0; status == MOEQ_OK && i < n; i++)
        paths[i] = items[i].path;
    if (status == MOEQ_OK)
        status = mq_text_read(paths, n, text, err);
    for (size_t i = 0; status == MOEQ_OK && named && i < n; i++) {
        text->sources[i].domain = items[i].name;
        items[i].name = NULL;
    }
    for (size_t i = 0; items && i < n; i++)
        free(items[i].name);
    free(items);
    free(paths);
    return status;
}

bool mq_text_option_reports_ok(const char *command, const struct mq_options *options)
{
    for (size_t i = 0; i < options->text.count; i++) {
        const char *input[2] = {NULL, NULL};
        mq_text_option_split(options->text.values[i], &input[0]);
        if (!mq_report_files_ok(command, options, input))
            return false;
    }
    return !options->tasks.count || mq_report_files_ok(command, options, options->tasks.values);
}

bool mq_text_option_names(const struct mq_options *options, const char *path)
{
    for (size_t i = 0; i < options->text.count; i++) {
        const char *text;
        mq_text_option_split(options->text.values[i], &text);
        if (mq_same_file(path, text))
            return true;
    }
    for (size_t i = 0; i < options->tasks.count; i++)
        if (mq_same_file(path, options->tasks.values[i]))
            return true;
    return false;
}

moeq_status mq_option_tasks(const struct mq_options *options, struct mq_task_files *files,
                            struct mq_protocol_options *protocol, moeq_error *err)
{
    if (!options->tasks.count)
        return MOEQ_OK;
    MQ_TRY(mq_task_files_read(options->tasks.values, files, err));
    protocol->tasks = files;
    return MOEQ_OK;
}
