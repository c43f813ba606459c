/*
 * pipeline.c: see the header.
 *
 * A division's time is foretold in multiply-adds. Of B batches that go through S stages the last one leaves when
 * B + S - 1 times the slowest stage has worked: many batches fill the pipeline well, and few share what each costs by
 * itself. More pipelines need no filling, but each reads all weights, from a store that serves them all.
 */
#include "pipeline.h"

#include "checked.h"

/* Divisions as good as the best, nearly: of these the one that reads least is taken. */
#define NEARLY 1.25

enum { HALVINGS = 48 };

static size_t ceil_div(size_t n, size_t by)
{
    return (n + by - 1) / by;
}

/* The windows of a pipeline at most. */
static size_t pipeline_windows(const struct mq_pipeline_work *w, const struct mq_division *d)
{
    return ceil_div(w->windows, d->pipelines);
}

static double cost_of(const struct mq_pipeline_work *w, const struct mq_division *d, uint32_t unit)
{
    const struct mq_layer_cost *c = &w->costs[unit];
    const double batches = (double)ceil_div(pipeline_windows(w, d), d->batch);
    return c->once / batches + c->batch + c->token * (double)(d->batch * w->length);
}

/* The end of a run of layers (the head is the last) from `begin` on that takes no more than `most`, or is one layer. */
static uint32_t run_end(const struct mq_pipeline_work *w, const struct mq_division *d,
                        uint32_t begin, double most, double *takes)
{
    uint32_t end = begin;
    *takes = 0;
    while (end <= w->layers) {
        const double with = *takes + cost_of(w, d, end);
        if (end > begin && with > most)
            break;
        *takes = with;
        end++;
    }
    return end;
}

/* Runs of `most` at most: how many there are, and what the longest takes. */
static unsigned runs(const struct mq_pipeline_work *w, const struct mq_division *d, double most,
                     double *greatest)
{
    unsigned count = 0;
    double takes;
    *greatest = 0;
    for (uint32_t at = 0; at <= w->layers; count++) {
        at = run_end(w, d, at, most, &takes);
        *greatest = takes > *greatest ? takes : *greatest;
    }
    return count;
}

/* The least that the longest of so many runs can take; fewer are made where that does as well. */
static void cut(const struct mq_pipeline_work *w, unsigned stages, struct mq_division *d)
{
    double low = 0, high = 0, greatest;
    for (uint32_t i = 0; i <= w->layers; i++) {
        const double one = cost_of(w, d, i);
        low = one > low ? one : low;
        high += one;
    }
    if (runs(w, d, low, &greatest) <= stages)
        high = low;
    for (int i = 0; i < HALVINGS && low < high; i++) {
        const double middle = (low + high) / 2;
        if (runs(w, d, middle, &greatest) <= stages)
            high = greatest < middle ? greatest : middle;
        else
            low = middle;
    }
    d->stages = runs(w, d, high, &d->greatest);
}

static double time_of(const struct mq_pipeline_work *w, const struct mq_division *d)
{
    const double batches = (double)ceil_div(pipeline_windows(w, d), d->batch);
    double read = 0;
    for (uint32_t i = 0; i <= w->layers; i++)
        read += w->costs[i].read;
    return read * d->pipelines + (batches + (w->apart ? 0 : d->stages - 1)) * d->greatest;
}

/* The best batch of so many pipelines and stages. */
static struct mq_division with_batch(const struct mq_pipeline_work *w, unsigned pipelines,
                                     unsigned stages)
{
    struct mq_division best = {.pipelines = pipelines}, d = best;
    const size_t windows = pipeline_windows(w, &d);
    for (size_t batches = 1; batches <= windows; batches = mq_max_u64(batches + 1, batches * 5 / 4)) {
        d.batch = ceil_div(windows, batches);
        if (w->batch_tokens)
            d.batch = mq_max_u64(1, mq_min_u64(windows, w->batch_tokens / w->length));
        cut(w, stages, &d);
        d.time = time_of(w, &d);
        if (!best.batch || d.time < best.time)
            best = d;
        if (w->batch_tokens)
            break;
    }
    return best;
}

struct mq_division mq_pipeline_divide(const struct mq_pipeline_work *w, unsigned ranks)
{
    struct mq_division best = {0};
    double least = 0;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned stages = 1; stages <= ranks && stages <= w->layers + 1; stages++) {
            const uint64_t wanted = w->pipelines ? mq_min_u64(w->pipelines, ranks) : ranks / stages;
            const unsigned pipelines = (unsigned)mq_min_u64(wanted, w->windows);
            if (pipelines * stages > ranks)
                continue;
            const struct mq_division d = with_batch(w, pipelines, stages);
            if (round == 0)
                least = stages == 1 || d.time < least ? d.time : least;
            else if (d.time <= NEARLY * least &&
                     (!best.batch || d.pipelines < best.pipelines || d.stages > best.stages))
                best = d;
        }
    return best;
}

struct mq_part mq_pipeline_part(const struct mq_pipeline_work *w, const struct mq_division *d,
                                unsigned rank)
{
    struct mq_part part = {.pipeline = rank / d->stages, .stage = rank % d->stages};
    double takes;
    if (part.pipeline >= d->pipelines)
        return (struct mq_part){.idle = true};
    uint32_t at = 0;
    for (unsigned stage = 0; stage <= part.stage; stage++) {
        part.layer_begin = at;
        at = run_end(w, d, at, d->greatest, &takes);
    }
    part.head = part.stage + 1 == d->stages;
    part.layer_end = part.head ? w->layers : at;
    part.layer_begin = part.layer_begin < w->layers ? part.layer_begin : w->layers;
    part.window_begin = w->windows * part.pipeline / d->pipelines;
    part.window_end = w->windows * (part.pipeline + 1) / d->pipelines;
    return part;
}
