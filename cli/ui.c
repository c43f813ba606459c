/* ui.c: what a person sees: progress, Ctrl-C, errors, numbers with units. */
#include "command.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- numbers ---- */

const char *mq_format_bytes(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 1024 && u + 1 < sizeof units / sizeof *units) {
        v /= 1024;
        u++;
    }
    snprintf(text, 32,
             u == 0 || v >= 100 ? "%.0f %s"
             : v >= 10          ? "%.1f %s"
                                : "%.2f %s",
             v, units[u]);
    return text;
}

const char *mq_format_seconds(double seconds, char text[32])
{
    const long s = lround(seconds);
    if (seconds < 10)
        snprintf(text, 32, "%.1f s", seconds);
    else if (s < 60)
        snprintf(text, 32, "%ld s", s);
    else if (s < 3600)
        snprintf(text, 32, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(text, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
    return text;
}

double mq_now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- errors and results ---- */

enum mq_exit mq_report(const moeq_error *err)
{
    fprintf(stderr, "moeq: %s\n", err->message[0] ? err->message : moeq_status_text(err->status));
    return err->status == MOEQ_CANCELLED ? MQ_EXIT_INTERRUPTED : MQ_EXIT_FAILURE;
}

enum mq_exit mq_finish_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return MQ_EXIT_GOOD;
    perror("moeq: cannot write to standard output");
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

/* The one piece of process-wide state: signal handlers have no argument. */
static atomic_bool interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    /* A second Ctrl-C must work even if the first is not being noticed. */
    if (atomic_exchange(&interrupted, true))
        _exit(130);
}

/* ---- progress ---- */

enum { BAR_WIDTH = 22 };

struct mq_progress_state {
    bool terminal;
    bool shown;              /* a line stands on the terminal */
    double started, updated; /* seconds */
    char phase[64];
    uint64_t first_done; /* where this phase began: resumed work has no rate */
};

/* "812 MiB/s", "31 ktokens/s" */
static void format_rate(double rate, const char *unit, char text[40])
{
    char bytes[32];
    if (strcmp(unit, "bytes") == 0)
        snprintf(text, 40, "%s/s", mq_format_bytes((uint64_t)rate, bytes));
    else if (rate >= 1e9)
        snprintf(text, 40, "%.1f G%s/s", rate / 1e9, unit);
    else if (rate >= 1e6)
        snprintf(text, 40, "%.1f M%s/s", rate / 1e6, unit);
    else
        snprintf(text, 40, "%.0f %s/s", rate, unit);
}

static void on_progress(void *user, const struct mq_progress *p)
{
    struct mq_progress_state *s = user;
    const double now = mq_now_seconds();
    if (strcmp(s->phase, p->phase) != 0) {
        if (!s->phase[0] || p->done == 0) {
            s->started = now;
            s->first_done = p->done;
        }
        snprintf(s->phase, sizeof s->phase, "%s", p->phase);
    }
    /* At most six times a second on a terminal, once a minute in a log. */
    if (now - s->updated < (s->terminal ? 1.0 / 6 : 60.0))
        return;
    s->updated = now;
    const double elapsed = now - s->started;
    const double share = p->total ? (double)p->done / (double)p->total : 0;
    const double rate = elapsed > 0 ? (double)(p->done - s->first_done) / elapsed : 0;
    char rate_text[40], left[32] = "?";
    format_rate(rate, p->unit, rate_text);
    if (rate > 0 && elapsed > 1)
        mq_format_seconds((double)(p->total - p->done) / rate, left);
    if (s->terminal) {
        char bar[BAR_WIDTH + 1];
        const int full = (int)(share * BAR_WIDTH);
        for (int i = 0; i < BAR_WIDTH; i++)
            bar[i] = i < full ? '#' : '.';
        bar[BAR_WIDTH] = '\0';
        fprintf(stderr, "\r\033[K%.20s [%s] %3.0f %% %.16s, %.14s left", p->phase, bar, 100 * share,
                rate_text, left);
        s->shown = true;
    } else {
        fprintf(stderr, "moeq: %s: %.0f %%, %s, %s left\n", p->phase, 100 * share, rate_text, left);
    }
    fflush(stderr);
}

bool mq_job_begin(const struct mq_options *options, struct mq_job_ui *ui)
{
    memset(ui, 0, sizeof *ui);
    const struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    ui->context.isa = mq_isa_detect();
    ui->context.threads = options->threads ? (unsigned)options->threads : mq_cpu_count();
    if (options->threads > 4096) {
        mq_usage(NULL, "--threads %llu: at most 4096", (unsigned long long)options->threads);
        return false;
    }
    ui->context.memory_bytes = options->memory;
    ui->context.cancel = &interrupted;
    if (options->no_progress || options->quiet)
        return true;
    ui->progress = calloc(1, sizeof *ui->progress);
    if (!ui->progress)
        return true; /* a job without a progress bar is still a job */
    ui->progress->terminal = isatty(STDERR_FILENO);
    ui->progress->updated = mq_now_seconds();
    ui->context.progress = on_progress;
    ui->context.progress_user = ui->progress;
    return true;
}

void mq_job_end(struct mq_job_ui *ui)
{
    if (ui->progress && ui->progress->shown)
        fprintf(stderr, "\r\033[K");
    free(ui->progress);
    ui->progress = NULL;
}
