/* ui.c: what a person sees: progress, Ctrl-C, errors. */
#include "command.h"
#include "program.h"
#include "progress.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- errors and results ---- */

enum mq_exit mq_report(const moeq_error *err)
{
    fprintf(mq_errors(), "%s: %s\n", mq_program_name(),
            err->message[0] ? err->message : moeq_status_text(err->status));
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
        fprintf(mq_errors(), "%s: cannot write to standard output: %s\n", mq_program_name(),
                strerror(errno));
    else if (failed_before)
        fprintf(mq_errors(), "%s: cannot write to standard output\n", mq_program_name());
    else if (atomic_load(&unprinted))
        fprintf(mq_errors(), "%s: out of memory while printing\n", mq_program_name());
    else
        return MQ_EXIT_GOOD;
    return MQ_EXIT_FAILURE;
}

enum mq_exit mq_print_json(cJSON *document)
{
    char *text = document ? cJSON_Print(document) : NULL;
    cJSON_Delete(document);
    if (!text) {
        fprintf(mq_errors(), "%s: out of memory while printing JSON\n", mq_program_name());
        return MQ_EXIT_FAILURE;
    }
    puts(text);
    cJSON_free(text);
    return mq_finish_output();
}

/* ---- Ctrl-C ---- */

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    /* A second Ctrl-C must work even if the first is not being noticed. Where others fail, the first may find the job
     * stopped already. */
    static atomic_bool signalled;
    atomic_store(mq_program_cancel(), true);
    if (atomic_exchange(&signalled, true))
        _exit(MQ_EXIT_INTERRUPTED);
}

/* ---- jobs ---- */

static unsigned default_threads(void)
{
    const struct mq_peers *peers = mq_jobs_are_with();
    const unsigned cpus = mq_cpu_count(), sharing = peers ? peers->on_cpus : 1;
    return cpus > sharing ? cpus / sharing : 1;
}

bool mq_job_begin(const struct mq_options *options, struct mq_job_ui *ui)
{
    const struct mq_peers *peers = mq_jobs_are_with();
    memset(ui, 0, sizeof *ui);
    const struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL); /* how batch systems warn of a job's end (Slurm: --signal) */
    struct sigaction hangup; /* a closed terminal, unless nohup has it ignored */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
    ui->context.isa = mq_isa_detect();
    ui->context.threads = options->threads ? (unsigned)options->threads : default_threads();
    if (options->pipelines > UINT16_MAX) {
        mq_usage(NULL, "--pipelines %llu: at most %d", (unsigned long long)options->pipelines,
                 UINT16_MAX);
        return false;
    }
    if (options->threads > 4096) {
        mq_usage(NULL, "--threads %llu: at most 4096", (unsigned long long)options->threads);
        return false;
    }
    ui->context.memory_bytes = options->memory;
    ui->context.cancel = mq_program_cancel();
    ui->context.peers = peers;
    ui->context.sharing = peers ? peers->on_host : 1;
    ui->context.batch_tokens = options->batch;
    ui->context.pipelines = (unsigned)options->pipelines;
    ui->context.scratch = options->scratch;
    ui->progress = mq_progress_begin(options, peers);
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
