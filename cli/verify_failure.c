/* verify_failure.c: exit code 1 leaves files behind, too, so that a CI shows why. */
#include "verify_failure.h"

#include "file.h"
#include "gate.h"
#include "output_path.h"
#include "report_failure.h"
#include "report_files.h"
#include "text_match.h"

#include <stdio.h>
#include <string.h>

/* Whether the path is an input, or lies in the folder that is one. */
static bool touches(const char *path, const char *input)
{
    char folder[4096];
    const size_t n = (size_t)(mq_base_name(path) - path);
    if (!input)
        return false;
    if (mq_same_file(path, input) || strcmp(path, input) == 0)
        return true;
    if (!mq_path_is_folder(input) || n >= sizeof folder)
        return false;
    snprintf(folder, sizeof folder, "%.*s", n ? (int)n : 1, n ? path : ".");
    return mq_same_file(folder, input);
}

/* Neither an input nor what the failure is about. */
static bool is_safe(const struct mq_options *o, const char *path, const moeq_error *err)
{
    bool touched =
        strcmp(path, err->path) == 0 || touches(path, o->against) || touches(path, o->gate) || touches(path, o->write_gate);
    for (int i = 0; i < o->positional_count; i++)
        touched = touched || touches(path, o->positional[i]);
    for (size_t i = 0; i < o->text.count; i++) {
        const char *named = strchr(o->text.values[i], '='); /* --text NAME=FILE */
        touched =
            touched || touches(path, o->text.values[i]) || (named && touches(path, named + 1));
    }
    return !touched && mq_refuse_foreign(path, NULL) == MOEQ_OK;
}

void mq_verify_failure_write(const struct mq_options *options, const moeq_error *err)
{
    if (!mq_is_speaker())
        return;
    const char *what =
        options->positional_count ? options->positional[options->positional_count - 1] : "?";
    const char *reason = err->message[0] ? err->message : moeq_status_text(err->status);
    moeq_error other = {0};
    if (options->junit && is_safe(options, options->junit, err) &&
        mq_gate_write_junit_error(options->junit, what, reason, &other) != MOEQ_OK)
        mq_report(&other);
    for (size_t i = 0; i < options->report.count; i++)
        if (is_safe(options, options->report.values[i], err) &&
            mq_report_write_failure(what, reason, options->report.values[i], &other) != MOEQ_OK)
            mq_report(&other);
}
