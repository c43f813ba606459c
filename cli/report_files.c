/* report_files.c: the files of --report, and the facts of the run that stand in them. */
#include "report_files.h"

#include "error.h"
#include "escape.h"
#include "file.h"
#include "output_path.h"
#include "report.h"
#include "source_card.h"
#include "text_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

cJSON *mq_put_verdict(cJSON *document)
{
    moeq_error err = {0};
    if (!document || mq_report_put_verdict(document, &err) == MOEQ_OK)
        return document;
    mq_report(&err);
    cJSON_Delete(document);
    return NULL;
}

/* ---- before the run ---- */

bool mq_report_files_wanted(const struct mq_options *options)
{
    return options->report.count || options->card || options->charts;
}

moeq_status mq_refuse_foreign(const char *path, moeq_error *err)
{
    enum { HEAD = 1 << 16 };
    char head[HEAD];
    struct stat st;
    struct mq_file file;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return MOEQ_OK;
    MQ_TRY(mq_file_open(path, &file, err));
    const size_t n = file.size_bytes < HEAD ? (size_t)file.size_bytes : HEAD;
    const moeq_status status = mq_file_read_at(&file, 0, head, n, err);
    mq_file_close(&file);
    MQ_TRY(status);
    return memmem(head, n, "moeq", 4) && !memchr(head, 0, n)
               ? MOEQ_OK
               : mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, MQ_FOREIGN);
}

moeq_status mq_refuse_foreign_page(const char *path, moeq_error *err)
{
    enum mq_report_format format;
    const bool is_page = mq_report_format_of(path, &format) &&
                         (format == MQ_REPORT_HTML || format == MQ_REPORT_MARKDOWN);
    return is_page ? mq_refuse_foreign(path, err) : MOEQ_OK;
}

/* One file that is to be written. */
static bool check_place(const char *command, const char *option, const char *path,
                        const char *const *inputs)
{
    for (const char *const *input = inputs; *input; input++)
        if (mq_same_file(path, *input)) {
            mq_usage(command, "--%s '%s' is an input of this run", option, path);
            return false;
        }
    moeq_error err = {0};
    if (mq_refuse_foreign_page(path, &err) != MOEQ_OK) {
        mq_usage(command, "--%s '%s': %s", option, path, err.message);
        return false;
    }
    struct stat st;
    if ((stat(path, &st) != 0 || S_ISREG(st.st_mode)) &&
        mq_check_output_place(path, NULL) == MOEQ_OK)
        return true;
    mq_usage(command, "--%s '%s': cannot write there", option, path);
    return false;
}

/* A folder, which is made where there is none. */
static bool check_folder(const char *command, const char *path)
{
    char inside[4096];
    const bool there = mq_path_is_folder(path);
    if (!there && mq_path_exists(path)) {
        mq_usage(command, "--charts '%s' is a file: expected a folder", path);
        return false;
    }
    size_t n = strlen(path);
    while (!there && n > 1 && path[n - 1] == '/') /* it is made itself: what is beside it matters */
        n--;
    const int size = snprintf(inside, sizeof inside, "%.*s%s", (int)n, path, there ? "/x.svg" : "");
    if (size > 0 && (size_t)size < sizeof inside && mq_check_output_place(inside, NULL) == MOEQ_OK)
        return true;
    mq_usage(command, "--charts '%s': cannot write there", path);
    return false;
}

enum { OTHERS = 5 }; /* outputs besides the reports */

/* A file that is to be written, and by which option. */
struct output {
    const char *option, *path;
};

/* Number i of them; without a path where it is not asked for. */
static struct output output(const struct mq_options *o, const char *chart, size_t i)
{
    const struct output others[OTHERS] = {{"-o", o->output},
                                          {"--card", o->card},
                                          {"the chart of --card", chart},
                                          {"--write-gate", o->write_gate},
                                          {"--junit", o->junit}};
    return i < OTHERS ? others[i] : (struct output){"--report", o->report.values[i - OTHERS]};
}

/* Whichever is written last would stand alone. */
static bool check_names_differ(const char *command, const struct mq_options *o)
{
    char chart[PATH_MAX];
    const bool drawn = o->card && mq_report_card_chart(o->card, chart);
    for (size_t i = 0; i < OTHERS + o->report.count; i++)
        for (size_t k = 0; k < i; k++) {
            const struct output a = output(o, drawn ? chart : NULL, k),
                                b = output(o, drawn ? chart : NULL, i);
            if (!a.path || !b.path || !mq_same_output(a.path, b.path))
                continue;
            mq_usage(command, "%s '%s' and %s '%s' are the same file: give each a name of its own",
                     a.option, a.path, b.option, b.path);
            return false;
        }
    return true;
}

bool mq_report_files_ok(const char *command, const struct mq_options *options,
                        const char *const *inputs)
{
    enum mq_report_format format;
    for (size_t i = 0; i < options->report.count; i++) {
        const char *path = options->report.values[i];
        if (!mq_report_format_of(path, &format)) {
            mq_usage(command, "--report '%s': expected a name that ends in " MQ_REPORT_ENDINGS,
                     path);
            return false;
        }
        if (!check_place(command, "report", path, inputs))
            return false;
    }
    const char *card = options->card, *charts = options->charts;
    if (card && !(mq_report_format_of(card, &format) && format == MQ_REPORT_MARKDOWN)) {
        mq_usage(command, "--card '%s': expected a name that ends in .md", card);
        return false;
    }
    if (options->base_model && !card) {
        mq_usage(command, "--base-model is about --card");
        return false;
    }
    if (charts && !check_folder(command, charts))
        return false;
    return mq_source_card_check(command, options) && check_names_differ(command, options) &&
           (!card || check_place(command, "card", card, inputs));
}

/* ---- facts of the run ---- */

/* As a shell would read it back; an option keeps its dash. */
static void put_argument(struct mq_buffer *b, const char *argument)
{
    const size_t dash = argument[0] == '-';
    mq_shell_word(b, dash ? "-" : "", argument + dash);
}

/* Of this process, from Linux; empty if it cannot be read. */
static void read_command(struct mq_buffer *command)
{
    char bytes[1 << 14];
    FILE *f = fopen("/proc/self/cmdline", "rb");
    const size_t n = f ? fread(bytes, 1, sizeof bytes - 1, f) : 0;
    if (f)
        fclose(f);
    bytes[n] = '\0';
    for (size_t at = 0; at < n; at += strlen(bytes + at) + 1) {
        if (at)
            mq_buffer_putc(command, ' ');
        put_argument(command, at ? bytes + at : mq_base_name(bytes)); /* the program: no folder */
    }
}

static void read_processor(char name[128])
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "r");
    name[0] = '\0';
    while (f && !name[0] && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':'))
            snprintf(name, 128, "%.120s",
                     strchr(line, ':') + 1 + strspn(strchr(line, ':') + 1, " "));
    if (f)
        fclose(f);
    name[strcspn(name, "\n")] = '\0';
}

static void add_run(cJSON *document, unsigned threads)
{
    cJSON *run = cJSON_AddObjectToObject(document, "run");
    struct mq_buffer command = {0};
    char processor[128], text[256];
    read_command(&command);
    read_processor(processor);
    if (command.data && mq_buffer_ok(&command))
        cJSON_AddStringToObject(run, "command", command.data);
    if (processor[0])
        cJSON_AddStringToObject(run, "processor", processor);
    cJSON_AddStringToObject(run, "instruction_set", mq_isa_name(mq_isa_detect()));
    cJSON_AddNumberToObject(run, "threads", threads);
    struct utsname system;
    if (uname(&system) == 0) {
        snprintf(text, sizeof text, "%.60s %.100s, %.60s", system.sysname, system.release,
                 system.machine);
        cJSON_AddStringToObject(run, "system", text);
    }
    mq_buffer_free(&command);
}

/* "report: FILE", the first behind `*before`. */
static void say(const struct mq_options *options, const char **before, const char *what,
                const char *path)
{
    if (!options->json && !options->quiet)
        printf("%s%s: %s\n", *before, what, path);
    *before = "";
}

/* What is wrong with a document has no name there. */
static enum mq_exit report_about(const char *input, const moeq_error *about)
{
    moeq_error err = *about;
    if (about->status == MOEQ_MALFORMED && input) {
        err = (moeq_error){0};
        mq_fail_file(&err, about->status, input, "%s", about->message);
    }
    return mq_report(&err);
}

enum mq_exit mq_report_outputs(const struct mq_options *options, const cJSON *document,
                               const char *input, const char *before,
                               const struct mq_claims *claims)
{
    moeq_error err = {0};
    size_t charts;
    for (size_t i = 0; i < options->report.count; i++) {
        if (mq_report_write(document, options->report.values[i], claims, &err) != MOEQ_OK)
            return report_about(input, &err);
        say(options, &before, "report", options->report.values[i]);
    }
    if (options->card) {
        if (mq_report_write_card(document, options->card, claims, &err) != MOEQ_OK)
            return report_about(input, &err);
        say(options, &before, "card", options->card);
    }
    if (options->charts) {
        if (mq_report_write_charts(document, options->charts, &charts, &err) != MOEQ_OK)
            return report_about(input, &err);
        say(options, &before, "charts", options->charts);
    }
    return MQ_EXIT_GOOD;
}

enum mq_exit mq_report_files_write(const struct mq_options *options, unsigned threads,
                                   cJSON *document, const struct mq_claims *claims)
{
    if (!document) {
        fprintf(mq_errors(), "%s: out of memory while writing the report\n", mq_program_name());
        return MQ_EXIT_FAILURE;
    }
    add_run(document, threads);
    const enum mq_exit code =
        mq_is_speaker() ? mq_report_outputs(options, document, NULL, "\n", claims) : MQ_EXIT_GOOD;
    cJSON_Delete(document);
    return code == MQ_EXIT_GOOD ? mq_finish_output() : code;
}
