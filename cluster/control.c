/*
 * control.c: see ranks.h.
 *
 * Every rank tells rank 0 once a second that it is alive, and is told so: whoever is silent for SILENCE_SECONDS is lost, and
 * with it the job. Of failures rank 0 hears first. It waits a moment (of what all do wrong, all complain), tells the others,
 * which stop, collects what all have to say, and says it once. Where a rank does not stop within STOP_SECONDS (after a signal,
 * which comes before time is up, INTERRUPT_SECONDS), or is lost, MPI_Abort ends all; where MPI itself does not come back, an alarm ends this process.
 */
#include "ranks.h"

#include "command.h"
#include "error.h"
#include "program.h"
#include "rank_ends.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double BEAT_SECONDS = 1, TOGETHER_SECONDS = 0.3, STOP_SECONDS = 10,
                    INTERRUPT_SECONDS = 600, LEAVE_SECONDS = 3;
enum { SILENCE_SECONDS = 15, STUCK_SECONDS = 20, AGAIN_SECONDS = 5, ABORT_SECONDS = 3, FINALIZE_SECONDS = 10 };

enum kind {
    ALIVE,
    CANCEL, /* somebody was told by a signal to stop */
    ENDED,  /* a rank has; to rank 0 */
    STOP,   /* a rank has failed */
    BYE,    /* all may leave */
    LEFT,   /* the last that rank 0 hears of a rank */
};

struct notice {
    uint32_t kind;
    bool abandoned; /* of BYE: somebody has, and nobody can finalize MPI */
    struct mq_far far;
    struct mq_rank_end end;
};

/* A notice on its way. */
struct letter {
    struct letter *next;
    MPI_Request request;
    struct notice notice;
};

struct mq_control {
    struct mq_ranks *ranks;
    atomic_bool *cancel;
    int err_fd;
    pthread_t thread;
    /* The rank's command, to the thread; under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended, verbose, over;
    struct mq_far *far; /* [count]: of this rank, and at rank 0 of all */
    struct mq_rank_end own;
    int code;
    /* The thread's, to the command: `failure` is complete when `failed` is set. */
    atomic_bool failed;
    char failure[MQ_RANK_TEXT];
    /* The thread's alone. */
    struct letter *letters;
    struct notice in;
    MPI_Request receiving;
    bool told_end, told_cancel;
    double now, beat;
    double *heard; /* [count]; of ranks other than 0, of rank 0 alone */
    /* Rank 0's. */
    struct mq_rank_end *ends;               /* [count] */
    double first_failure, stop_by, leaving; /* when; 0: not yet */
    bool lost, *left;                       /* [count] */
};

/* Of files and all else, by this process so far. */
static uint64_t bytes_read(void)
{
    char line[64];
    unsigned long long n = 0;
    FILE *f = fopen("/proc/self/io", "r");
    if (f && fgets(line, sizeof line, f) && sscanf(line, "rchar: %llu", &n) != 1)
        n = 0;
    if (f)
        fclose(f);
    return n;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the last resorts ---- */

static char stuck_text[MPI_MAX_PROCESSOR_NAME + 128]; /* "": all is said */
static int stuck_fd, stuck_code = EXIT_FAILURE;

static atomic_bool given_up; /* of a process that was stopped, and goes on, the alarm comes at once: it has a little longer */

static void on_stuck(int number)
{
    (void)number;
    if (!atomic_exchange(&given_up, true)) {
        alarm(AGAIN_SECONDS);
        return;
    }
    if (write(stuck_fd, stuck_text, strlen(stuck_text)) < 0)
        _exit(EXIT_FAILURE);
    _exit(stuck_code);
}

static void say(const struct mq_control *c, const char *text)
{
    if (text[0])
        dprintf(c->err_fd, "%s", text);
}

void mq_control_give_up_after(unsigned more_seconds, int code)
{
    stuck_text[0] = '\0';
    stuck_code = code;
    atomic_store(&given_up, true);
    alarm(more_seconds);
}

/* MPI_Abort does not always come back, and does not always end this process. */
static void end_all(int code)
{
    mq_control_give_up_after(ABORT_SECONDS, code);
    MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

/* ---- notices ---- */

static void tell(struct mq_control *c, unsigned to, const struct notice *n)
{
    struct letter *l = malloc(sizeof *l);
    if (!l) /* no memory for a few KiB: rank 0 will find this rank silent */
        return;
    l->notice = *n;
    l->next = c->letters;
    c->letters = l;
    MPI_Isend(&l->notice, sizeof l->notice, MPI_BYTE, (int)to, 0, c->ranks->control, &l->request);
}

static void tell_all(struct mq_control *c, const struct notice *n)
{
    for (unsigned r = 1; r < c->ranks->peers.count; r++)
        tell(c, r, n);
}

/* Whether all are gone. */
static bool reap_letters(struct mq_control *c)
{
    for (struct letter **l = &c->letters; *l;) {
        struct letter *this = *l;
        int done;
        MPI_Test(&this->request, &done, MPI_STATUS_IGNORE);
        if (done) {
            *l = this->next;
            free(this);
        } else {
            l = &this->next;
        }
    }
    return !c->letters;
}

static void listen(struct mq_control *c)
{
    MPI_Irecv(&c->in, sizeof c->in, MPI_BYTE, MPI_ANY_SOURCE, 0, c->ranks->control, &c->receiving);
}

/* What the waits of this rank's command come back with. */
static void fail_here(struct mq_control *c, const char *text)
{
    if (atomic_load(&c->failed))
        return;
    snprintf(c->failure, sizeof c->failure, "%s", text);
    atomic_store(&c->failed, true);
    c->told_cancel = true;
    atomic_store(c->cancel, true);
}

static void finish(struct mq_control *c, int code)
{
    pthread_mutex_lock(&c->lock);
    c->over = true;
    c->code = code;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void take(struct mq_control *c, unsigned from)
{
    const struct notice *n = &c->in;
    c->heard[from] = c->now;
    switch ((enum kind)n->kind) {
    case ALIVE:
        pthread_mutex_lock(&c->lock);
        c->far[from] = n->far;
        pthread_mutex_unlock(&c->lock);
        break;
    case CANCEL:
        atomic_store(c->cancel, true);
        break;
    case ENDED:
        c->ends[from] = n->end;
        break;
    case STOP:
        fail_here(c, n->end.text);
        break;
    case BYE:
        tell(c, 0, &(struct notice){.kind = LEFT});
        c->leaving = c->now;
        if (n->abandoned)
            atomic_store(&c->ranks->abandoned, true);
        c->own.code = n->end.code;
        break;
    case LEFT:
        c->left[from] = true;
        break;
    }
}

static void receive(struct mq_control *c)
{
    for (;;) {
        int done;
        MPI_Status from;
        if (c->receiving == MPI_REQUEST_NULL)
            return;
        MPI_Test(&c->receiving, &done, &from);
        if (!done)
            return;
        take(c, (unsigned)from.MPI_SOURCE);
        if (c->ranks->peers.rank == 0 ? !mq_all_true(c->left, c->ranks->peers.count) : c->leaving <= 0)
            listen(c);
    }
}

/* ---- rank 0 ---- */

static void stop_all(struct mq_control *c)
{
    struct notice n = {.kind = STOP};
    const int code =
        mq_ends_cause(c->ends, c->ranks->peers.count, c->ranks->peers.host, c->ranks, n.end.text);
    c->stop_by = c->now + (code == MQ_EXIT_INTERRUPTED ? INTERRUPT_SECONDS : STOP_SECONDS);
    tell_all(c, &n);
    fail_here(c, n.end.text);
}

static void find_lost(struct mq_control *c)
{
    for (unsigned r = 1; r < c->ranks->peers.count; r++)
        if (!c->lost && c->now - c->heard[r] > SILENCE_SECONDS) {
            c->lost = true;
            c->ends[r] = (struct mq_rank_end){.ended = true, .code = EXIT_FAILURE, .lost = true};
            snprintf(c->ends[r].text, sizeof c->ends[r].text,
                     "moeq-mpi: rank %u (host %s) has not answered for %d s\n", r,
                     c->ranks->peers.host(c->ranks, r), SILENCE_SECONDS);
            c->first_failure = c->now - TOGETHER_SECONDS;
            c->stop_by = c->stop_by > c->now + STOP_SECONDS ? c->now + STOP_SECONDS : c->stop_by;
        }
}

/* What all have to say is said, and all may leave. */
static void conclude(struct mq_control *c, bool orderly)
{
    const unsigned count = c->ranks->peers.count;
    struct notice n = {.kind = BYE};
    char text[2 * MQ_RANK_TEXT];
    n.end.code = mq_ends_verdict(c->ends, count, c->ranks->peers.host, c->ranks, text);
    say(c, text);
    if (c->verbose)
        for (unsigned r = 0; r < count; r++) {
            mq_ends_traffic(&c->ends[r], r, c->ranks->peers.host(c->ranks, r), text);
            say(c, text);
        }
    if (!orderly)
        end_all(n.end.code);
    for (unsigned r = 0; r < count; r++)
        n.abandoned |= c->ends[r].abandoned;
    atomic_store(&c->ranks->abandoned, n.abandoned);
    tell_all(c, &n);
    c->own.code = n.end.code;
    c->leaving = c->now;
}

static void judge(struct mq_control *c)
{
    const unsigned count = c->ranks->peers.count;
    bool all = true, failed = false;
    if (c->leaving > 0)
        return;
    find_lost(c);
    for (unsigned r = 0; r < count; r++) {
        all = all && c->ends[r].ended;
        failed = failed || mq_ends_is_failure(&c->ends[r]);
    }
    if (failed && c->first_failure <= 0)
        c->first_failure = c->now;
    if (failed && c->stop_by <= 0 && !all && c->now - c->first_failure >= TOGETHER_SECONDS)
        stop_all(c);
    if (all || (c->stop_by > 0 && c->now > c->stop_by))
        conclude(c, all && !c->lost);
}

/* ---- the thread ---- */

/* What this rank's command has come to, once. */
static void hand_in(struct mq_control *c)
{
    struct notice n = {.kind = ENDED};
    pthread_mutex_lock(&c->lock);
    const bool due = c->ended && !c->told_end;
    n.end = c->own;
    pthread_mutex_unlock(&c->lock);
    if (!due)
        return;
    c->told_end = true;
    if (c->ranks->peers.rank)
        tell(c, 0, &n);
    else
        c->ends[0] = n.end;
}

static void beat(struct mq_control *c)
{
    const struct notice cancel = {.kind = CANCEL};
    struct notice alive = {.kind = ALIVE};
    const bool first = c->ranks->peers.rank == 0;
    if (c->leaving > 0)
        return;
    if (atomic_load(c->cancel) && !c->told_cancel) {
        c->told_cancel = true;
        if (first)
            tell_all(c, &cancel);
        else
            tell(c, 0, &cancel);
    }
    if (c->now - c->beat < BEAT_SECONDS)
        return;
    c->beat = c->now;
    atomic_store(&given_up, false);
    alarm(STUCK_SECONDS);
    pthread_mutex_lock(&c->lock);
    alive.far = c->far[c->ranks->peers.rank];
    pthread_mutex_unlock(&c->lock);
    if (first) {
        tell_all(c, &alive);
        mq_program_progress_again();
    } else {
        tell(c, 0, &alive);
    }
}

/* Without rank 0 nobody says it but this rank. */
static void miss_first(struct mq_control *c)
{
    char text[2 * MPI_MAX_PROCESSOR_NAME + 128];
    if (c->leaving > 0 || c->now - c->heard[0] <= SILENCE_SECONDS)
        return;
    snprintf(text, sizeof text,
             "moeq-mpi: rank %u on %s: rank 0 (host %s) has not answered for %d s\n",
             c->ranks->peers.rank, c->ranks->peers.host(c->ranks, c->ranks->peers.rank),
             c->ranks->peers.host(c->ranks, 0), SILENCE_SECONDS);
    say(c, text);
    end_all(EXIT_FAILURE);
}

/* A process that was stopped itself has heard nobody, which is no fault of theirs. */
static void look_at_clock(struct mq_control *c)
{
    const double now = seconds(), slept = now - c->now;
    for (unsigned r = 0; r < c->ranks->peers.count && slept > BEAT_SECONDS; r++)
        c->heard[r] += slept;
    c->now = now;
}

static void *run(void *user)
{
    struct mq_control *c = user;
    const bool first = c->ranks->peers.rank == 0;
    for (;;) {
        look_at_clock(c);
        receive(c);
        const bool told = reap_letters(c);
        beat(c);
        hand_in(c);
        if (first)
            judge(c);
        else
            miss_first(c);
        const bool gone = !first || mq_all_true(c->left, c->ranks->peers.count);
        if (c->leaving > 0 && ((told && gone) || c->now - c->leaving > LEAVE_SECONDS)) {
            if (!told || !gone)
                end_all(c->own.code);
            break;
        }
        /* MPI takes what is on its way further when it is called, and the command may be computing. */
        const struct timespec some = {0, atomic_load(&c->ranks->under_way) ? 1000000 : 10000000};
        nanosleep(&some, NULL);
    }
    alarm(0);
    finish(c, c->own.code);
    return NULL;
}

static void begin_thread(struct mq_control *c)
{
    sigset_t all, before;
    sigfillset(&all); /* signals are the command's */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    const int failed = pthread_create(&c->thread, NULL, run, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed)
        return;
    say(c, "moeq-mpi: no thread can be had\n");
    end_all(EXIT_FAILURE);
}

void mq_control_begin(struct mq_ranks *ranks, atomic_bool *cancel, int err_fd)
{
    const unsigned count = ranks->peers.count;
    struct mq_control *c = calloc(1, sizeof *c);
    if (c) {
        c->heard = calloc(count, sizeof *c->heard);
        c->ends = calloc(count, sizeof *c->ends);
        c->left = calloc(count, sizeof *c->left);
        c->far = calloc(count, sizeof *c->far);
    }
    if (!c || !c->heard || !c->ends || !c->left || !c->far) {
        dprintf(err_fd, "moeq-mpi: out of memory\n");
        end_all(EXIT_FAILURE);
        return;
    }
    c->ranks = ranks;
    c->cancel = cancel;
    c->err_fd = stuck_fd = err_fd;
    c->left[0] = true;
    c->now = seconds();
    for (unsigned r = 0; r < count; r++)
        c->heard[r] = c->now;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    ranks->messenger = c;
    snprintf(stuck_text, sizeof stuck_text, "moeq-mpi: rank %u on %s: MPI does not come back\n",
             ranks->peers.rank, ranks->peers.host(ranks, ranks->peers.rank));
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_stuck}, NULL);
    listen(c);
    begin_thread(c);
}

moeq_status mq_control_check(const struct mq_ranks *ranks, moeq_error *err)
{
    const struct mq_control *c = ranks->messenger;
    return atomic_load(&c->failed) ? mq_fail(err, MOEQ_CANCELLED, "%s", c->failure) : MOEQ_OK;
}

void mq_control_far(struct mq_ranks *ranks, const struct mq_far *own, struct mq_far *all)
{
    struct mq_control *c = ranks->messenger;
    *all = (struct mq_far){.kind = own->kind};
    pthread_mutex_lock(&c->lock);
    c->far[ranks->peers.rank] = *own;
    for (unsigned r = 0; r < ranks->peers.count; r++)
        if (c->far[r].kind == own->kind) {
            all->done += c->far[r].done;
            all->total += c->far[r].total;
        }
    pthread_mutex_unlock(&c->lock);
}

int mq_control_end(struct mq_ranks *ranks, int code, const char *text, bool verbose)
{
    struct mq_control *c = ranks->messenger;
    pthread_mutex_lock(&c->lock);
    c->own = (struct mq_rank_end){
        .ended = true,
        .code = code,
        .followed = atomic_load(&c->failed) && code == MQ_EXIT_INTERRUPTED,
        .abandoned = atomic_load(&ranks->abandoned) || atomic_load(&ranks->under_way) > 0,
        .read = bytes_read(),
        .sent = atomic_load(&ranks->sent),
        .received = atomic_load(&ranks->received)};
    snprintf(c->own.text, sizeof c->own.text, "%s", text);
    c->verbose = verbose;
    c->ended = true;
    while (!c->over)
        pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    code = c->code;
    if (atomic_load(&ranks->abandoned)) {
        fflush(NULL);
        _exit(code);
    }
    free(c->heard);
    free(c->ends);
    free(c->left);
    free(c->far);
    free(c);
    mq_control_give_up_after(FINALIZE_SECONDS, code);
    return code;
}
