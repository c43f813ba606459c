/* report_files.c: the files of --report, and the facts of the run that stand in them. */
#include "report_files.h"

#include "file.h"
#include "output_path.h"
#include "report.h"
#include "text_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- before the run ---- */

bool mq_report_files_ok(const char *command, const struct mq_options *options,
                        const char *const *inputs)
{
    for (size_t i = 0; i < options->report.count; i++) {
        const char *path = options->report.values[i];
        enum mq_report_format format;
        if (!mq_report_format_of(path, &format)) {
            mq_usage(command, "--report '%s': expected a name that ends in .html or .md", path);
            return false;
        }
        for (const char *const *input = inputs; *input; input++)
            if (mq_same_file(path, *input)) {
                mq_usage(command, "--report '%s' is an input of this run", path);
                return false;
            }
        if (mq_path_is_folder(path) || mq_check_output_place(path, NULL) != MOEQ_OK) {
            mq_usage(command, "--report '%s': cannot write there", path);
            return false;
        }
    }
    return true;
}

/* ---- facts of the run ---- */

/* As a shell would read it back. */
static void put_argument(struct mq_buffer *b, const char *argument)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "%+,-./:=@_";
    if (*argument && argument[strspn(argument, safe)] == '\0') {
        mq_buffer_puts(b, argument);
        return;
    }
    mq_buffer_putc(b, '\'');
    for (const char *c = argument; *c; c++)
        if (*c == '\'')
            mq_buffer_puts(b, "'\\''");
        else
            mq_buffer_putc(b, *c);
    mq_buffer_putc(b, '\'');
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

enum mq_exit mq_report_files_write(const struct mq_options *options, unsigned threads,
                                   cJSON *document)
{
    moeq_error err = {0};
    if (!document) {
        fprintf(stderr, "moeq: out of memory while writing the report\n");
        return MQ_EXIT_FAILURE;
    }
    add_run(document, threads);
    enum mq_exit code = MQ_EXIT_GOOD;
    for (size_t i = 0; i < options->report.count && code == MQ_EXIT_GOOD; i++) {
        if (mq_report_write(document, options->report.values[i], &err) != MOEQ_OK)
            code = mq_report(&err);
        else if (!options->json && !options->quiet)
            printf("%sreport: %s\n", i ? "" : "\n", options->report.values[i]);
    }
    cJSON_Delete(document);
    return code == MQ_EXIT_GOOD ? mq_finish_output() : code;
}
