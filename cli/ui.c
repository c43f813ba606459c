/* ui.c: what a person sees: progress, Ctrl-C, errors. */
#include "command.h"
#include "program.h"
#include "progress.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- errors and results ---- */

enum mq_exit mq_report(const moeq_error *err)
{
    fprintf(stderr, "moeq: %s\n", err->message[0] ? err->message : moeq_status_text(err->status));
    return err->status == MOEQ_CANCELLED ? MQ_EXIT_INTERRUPTED : MQ_EXIT_FAILURE;
}

/* Process-wide, as stdout's own sign of failure is: memory was short for what should be printed. */
static atomic_bool unprinted;

void mq_left_unprinted(bool no_memory)
{
    if (no_memory)
        atomic_store(&unprinted, true);
}

const char *mq_printable(const struct mq_buffer *text)
{
    mq_left_unprinted(!mq_buffer_ok(text));
    return mq_buffer_ok(text) && text->data ? text->data : "";
}

enum mq_exit mq_finish_output(void)
{
    const bool failed_before = ferror(stdout); /* errno is another's by now */
    if (fflush(stdout) != 0 && !failed_before)
        perror("moeq: cannot write to standard output");
    else if (failed_before)
        fprintf(stderr, "moeq: cannot write to standard output\n");
    else if (atomic_load(&unprinted))
        fprintf(stderr, "moeq: out of memory while printing\n");
    else
        return MQ_EXIT_GOOD;
    return MQ_EXIT_FAILURE;
}

enum mq_exit mq_print_json(cJSON *document)
{
    char *text = document ? cJSON_Print(document) : NULL;
    cJSON_Delete(document);
    if (!text) {
        fprintf(stderr, "moeq: out of memory while printing JSON\n");
        return MQ_EXIT_FAILURE;
    }
    puts(text);
    cJSON_free(text);
    return mq_finish_output();
}

/* ---- Ctrl-C ---- */

/* The one piece of process-wide state: signal handlers have no argument. And with whom this process works. */
static atomic_bool interrupted;
static const struct mq_peers *job_peers;

atomic_bool *mq_program_cancel(void)
{
    return &interrupted;
}

void mq_jobs_peers(const struct mq_peers *peers)
{
    job_peers = peers;
}

const struct mq_peers *mq_jobs_are_with(void)
{
    return job_peers;
}

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    /* A second Ctrl-C must work even if the first is not being noticed. */
    if (atomic_exchange(&interrupted, true))
        _exit(130);
}

/* ---- jobs ---- */

bool mq_job_begin(const struct mq_options *options, struct mq_job_ui *ui)
{
    memset(ui, 0, sizeof *ui);
    const struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction hangup; /* a closed terminal, unless nohup has it ignored */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
    ui->context.isa = mq_isa_detect();
    ui->context.threads = options->threads ? (unsigned)options->threads : mq_cpu_count();
    if (options->threads > 4096) {
        mq_usage(NULL, "--threads %llu: at most 4096", (unsigned long long)options->threads);
        return false;
    }
    ui->context.memory_bytes = options->memory;
    ui->context.cancel = &interrupted;
    ui->context.peers = job_peers;
    ui->progress = mq_progress_begin(options);
    if (ui->progress) {
        ui->context.progress = mq_progress_show;
        ui->context.progress_user = ui->progress;
    }
    return true;
}

void mq_job_end(struct mq_job_ui *ui)
{
    mq_progress_end(ui->progress);
    ui->progress = NULL;
}
