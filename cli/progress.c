/*
 * progress.c: one line that is drawn again on a terminal that can do so; else a line of its own now and then:
 *
 *   a terminal                     a bar, six times a second
 *   TERM=dumb or --progress        a line at the start, then every ten seconds or tenth of the work
 *   neither                        a line a minute, for logs of what takes long
 */
#include "progress.h"

#include "program.h"
#include "terminal_text.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum how { BAR, LINES, LOG, TELL };

struct mq_progress_state {
    enum how how;
    const struct mq_peers *peers;
    bool shown;              /* a line stands on the terminal */
    double started, updated; /* seconds */
    double share;            /* when a line was last printed */
    char kind[64];           /* the first word of the phase: all layers of all passes are one job */
    uint64_t first_done, last_done,
        total;               /* where this job began: what was done before has no rate */
    struct mq_progress last; /* of this process; its phase is `phase` */
    char phase[96];
    double told; /* when it was last told to the others */
};

/* The one that is shown: with peers, also by another thread than the job's. */
static struct mq_progress_state *showing;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const double BAR_SECONDS = 1.0 / 6, LINE_SECONDS = 10, LOG_SECONDS = 60, LINE_SHARE = 0.1;

struct mq_progress_state *mq_progress_begin(const struct mq_options *options,
                                            const struct mq_peers *peers)
{
    const char *term = getenv("TERM");
    const bool tells = !mq_peers_first(peers);
    if ((options->no_progress || options->quiet) && !tells)
        return NULL;
    struct mq_progress_state *s = calloc(1, sizeof *s);
    if (!s)
        return NULL; /* a job without a progress bar is still a job */
    const bool terminal = isatty(STDERR_FILENO), dumb = term && strcmp(term, "dumb") == 0;
    s->peers = peers;
    s->how = tells                                     ? TELL
             : terminal && !dumb && !options->progress ? BAR
             : terminal || options->progress           ? LINES
                                                       : LOG;
    s->updated = s->how == LINES ? -INFINITY : mq_now_seconds();
    pthread_mutex_lock(&lock);
    showing = s;
    pthread_mutex_unlock(&lock);
    return s;
}

void mq_progress_announce(struct mq_progress_state *s, const char *sentence)
{
    const int width = mq_terminal_columns(STDERR_FILENO);
    if (!s || s->how == LOG || s->how == TELL)
        return;
    int at = fprintf(stderr, "%s:", mq_program_name());
    for (size_t n; *sentence; sentence += n + strspn(sentence + n, " ")) {
        n = strcspn(sentence, " ");
        if (s->how == BAR && at + 1 + (int)n >= width)
            at = fprintf(stderr, "\n ") - 1;
        at += fprintf(stderr, " %.*s", (int)n, sentence);
    }
    fputc('\n', stderr);
}

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

void mq_progress_line(char *line, size_t room, int columns, const char *phase, double share,
                      const char *rate, const char *left)
{
    enum { LARGEST = 22, LEAST = 5 };
    const int width = columns - 1; /* the cursor stands behind it */
    char percent[96], bar[LARGEST + 4] = "";
    snprintf(percent, sizeof percent, " %3.0f %% %.16s, %.14s left", 100 * share, rate, left);
    if ((int)strlen(phase) + (int)strlen(percent) + LEAST + 3 > width)
        snprintf(percent, sizeof percent, " %3.0f %%, %.14s left", 100 * share, left);
    const int free_columns = width - (int)strlen(phase) - (int)strlen(percent) - 3;
    const int cells = free_columns < LARGEST ? free_columns : LARGEST;
    if (cells >= LEAST) {
        const int full = (int)(fmin(1, fmax(0, share)) * cells);
        bar[0] = ' ';
        bar[1] = '[';
        for (int i = 0; i < cells; i++)
            bar[2 + i] = i < full ? '#' : '.';
        bar[2 + cells] = ']';
        bar[3 + cells] = '\0';
    }
    const int name = width - (int)strlen(percent) - (int)strlen(bar);
    snprintf(line, room, "%.*s%s%s", name > 0 ? name : 0, phase, bar, percent);
    if (width >= 0 && (size_t)width < room)
        line[width] = '\0';
}

/* Another job, such as a second walk over the same bytes, begins at what it finds done. */
static void follow(struct mq_progress_state *s, const struct mq_progress *p, double now)
{
    char kind[sizeof s->kind];
    snprintf(kind, sizeof kind, "%.*s", (int)strcspn(p->phase, " "), p->phase);
    if (strcmp(kind, s->kind) != 0 || p->total != s->total || p->done < s->last_done) {
        memcpy(s->kind, kind, sizeof kind);
        s->total = p->total;
        s->started = now;
        s->first_done = p->done;
        s->share = -1;
    }
    s->last_done = p->done;
}

static bool is_due(const struct mq_progress_state *s, double share, double now)
{
    const double since = now - s->updated;
    return s->how == BAR   ? since >= BAR_SECONDS
           : s->how == LOG ? since >= LOG_SECONDS
                           : since >= LINE_SECONDS || share >= s->share + LINE_SHARE;
}

static void show(struct mq_progress_state *s, const struct mq_progress *p, double now)
{
    follow(s, p, now);
    const double share = p->total ? (double)p->done / (double)p->total : 0;
    if (!is_due(s, share, now))
        return;
    s->updated = now;
    s->share = share;
    const double elapsed = now - s->started;
    const double rate = elapsed > 0 ? (double)(p->done - s->first_done) / elapsed : 0;
    char rate_text[40], left[32] = "?";
    format_rate(rate, p->unit, rate_text);
    if (rate > 0 && elapsed > 1)
        mq_format_seconds((double)(p->total - p->done) / rate, left);
    if (s->how == BAR) {
        char line[256], phase[32];
        snprintf(phase, sizeof phase, "%.28s", p->phase);
        mq_progress_line(line, sizeof line, mq_terminal_columns(STDERR_FILENO), phase, share,
                         rate_text, left);
        fprintf(stderr, "\r\033[K%s", line);
        s->shown = true;
    } else {
        fprintf(stderr, "%s: %s: %.0f %%, %s, %s left\n", mq_program_name(), p->phase, 100 * share,
                rate_text, left);
    }
    fflush(stderr);
}

/* The same number for all that do the same: of the first word of its phase. */
static uint64_t kind_of(const char *phase)
{
    uint64_t kind = 1469598103934665603u; /* FNV-1a */
    for (; *phase && *phase != ' '; phase++)
        kind = (kind ^ (unsigned char)*phase) * 1099511628211u;
    return kind;
}

/* How far all are. Of tokens each process counts all, when they are through its layers: the whole job's are their mean. */
static void show_all(struct mq_progress_state *s, double now)
{
    const struct mq_far own = {kind_of(s->phase), s->last.done, s->last.total};
    struct mq_far all;
    char phase[128];
    s->peers->far(s->peers->user, &own, &all);
    if (s->how == TELL)
        return;
    snprintf(phase, sizeof phase, "%.*s, %u ranks", (int)strcspn(s->phase, " "), s->phase,
             s->peers->count);
    struct mq_progress p = {phase, all.done, all.total, s->last.unit};
    if (strcmp(p.unit, "tokens") == 0) {
        p.done = all.done / s->peers->count;
        p.total = own.total;
    }
    show(s, &p, now);
}

void mq_progress_show(void *user, const struct mq_progress *p)
{
    struct mq_progress_state *s = user;
    const double now = mq_now_seconds();
    if (!s->peers) {
        show(s, p, now);
        return;
    }
    pthread_mutex_lock(&lock);
    s->last = *p;
    snprintf(s->phase, sizeof s->phase, "%s", p->phase);
    if (now - s->told > BAR_SECONDS || p->done == p->total) {
        s->told = now;
        show_all(s, now);
    }
    pthread_mutex_unlock(&lock);
}

void mq_program_progress_again(void)
{
    pthread_mutex_lock(&lock);
    if (showing && showing->peers && showing->last.total)
        show_all(showing, mq_now_seconds());
    pthread_mutex_unlock(&lock);
}

void mq_progress_end(struct mq_progress_state *s)
{
    pthread_mutex_lock(&lock);
    showing = NULL;
    pthread_mutex_unlock(&lock);
    if (s && s->shown)
        fprintf(stderr, "\r\033[K");
    free(s);
}
