/*
 * budget.c: the multiple-choice knapsack problem.
 *
 * Each unit's useful levels are the corners of the lower convex hull of (bytes, loss). Going along
 * all hulls at once, steepest step first, gives the best choice for any price of a byte; the step at
 * which the budget is exceeded is the break, and the loss there, with that step taken in part, is a
 * bound. The units whose steps are nearest to the break in price are the core: of them every level
 * is tried, by dynamic programming over the bytes that the others leave.
 */
#include "budget.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_BYTES = 64 << 20, MOST_BINS = 1 << 20, LEAST_CORE = 32 };

/* From one corner of a unit's hull to the next. */
struct step {
    double price; /* loss saved a byte: falls along a hull */
    uint32_t unit;
    uint8_t from, to;
};

struct problem {
    const struct mq_budget_option *options;
    size_t units, levels;
    uint64_t budget;
    uint8_t *chosen;
    struct step *steps; /* of all hulls, steepest first */
    size_t steps_count;
};

static const struct mq_budget_option *option(const struct problem *p, size_t unit, size_t level)
{
    return &p->options[unit * p->levels + level];
}

/* Of a unit's levels the next corner from `from` on: the steepest way down, then the longest; none:
 * `from` itself. */
static size_t next_corner(const struct problem *p, size_t unit, size_t from)
{
    const struct mq_budget_option *o = option(p, unit, 0), *a = o + from;
    size_t best = from;
    double best_price = 0.0;
    for (size_t l = 0; l < p->levels; l++) {
        if (o[l].bytes == UINT64_MAX || o[l].bytes <= a->bytes || o[l].loss >= a->loss)
            continue;
        const double price = (a->loss - o[l].loss) / (double)(o[l].bytes - a->bytes);
        if (price > best_price || (price == best_price && o[l].bytes > o[best].bytes)) {
            best = l;
            best_price = price;
        }
    }
    return best;
}

/* The smallest level, of those the one that loses least. */
static size_t first_corner(const struct problem *p, size_t unit)
{
    const struct mq_budget_option *o = option(p, unit, 0);
    size_t best = 0;
    for (size_t l = 1; l < p->levels; l++)
        if (o[l].bytes < o[best].bytes || (o[l].bytes == o[best].bytes && o[l].loss < o[best].loss))
            best = l;
    return best;
}

static int steeper(const void *left, const void *right)
{
    const struct step *a = left, *b = right;
    if (a->price != b->price)
        return a->price > b->price ? -1 : 1;
    if (a->unit != b->unit)
        return a->unit < b->unit ? -1 : 1;
    return (int)a->from - (int)b->from; /* of one unit two steps never have one price */
}

/* chosen = the smallest levels; the steps away from them. */
static moeq_status make_steps(struct problem *p, moeq_error *err)
{
    p->steps = calloc(p->units * p->levels + 1, sizeof *p->steps);
    if (!p->steps)
        return mq_fail_memory(err, "choosing levels");
    for (size_t u = 0; u < p->units; u++) {
        size_t at = first_corner(p, u);
        if (option(p, u, at)->bytes == UINT64_MAX)
            return mq_fail(err, MOEQ_UNSUPPORTED, "unit %zu of the budget has no level at all", u);
        p->chosen[u] = (uint8_t)at;
        for (size_t to; (to = next_corner(p, u, at)) != at; at = to) {
            const struct mq_budget_option *a = option(p, u, at), *b = option(p, u, to);
            p->steps[p->steps_count++] =
                (struct step){(a->loss - b->loss) / (double)(b->bytes - a->bytes), (uint32_t)u,
                              (uint8_t)at, (uint8_t)to};
        }
    }
    qsort(p->steps, p->steps_count, sizeof *p->steps, steeper);
    return MOEQ_OK;
}

static void add_up(const struct problem *p, struct mq_budget_result *result)
{
    result->bytes = 0;
    result->loss = 0.0;
    for (size_t u = 0; u < p->units; u++) {
        result->bytes += option(p, u, p->chosen[u])->bytes;
        result->loss += option(p, u, p->chosen[u])->loss;
    }
}

/* Takes steps while they fit; returns the number of the first that does not. */
static size_t take_steps(struct problem *p, struct mq_budget_result *result)
{
    add_up(p, result);
    size_t i = 0;
    for (; i < p->steps_count; i++) {
        const struct step *s = &p->steps[i];
        const struct mq_budget_option *a = option(p, s->unit, s->from),
                                      *b = option(p, s->unit, s->to);
        if (b->bytes - a->bytes > p->budget - result->bytes) {
            result->bound = result->loss - s->price * (double)(p->budget - result->bytes);
            return i;
        }
        result->bytes += b->bytes - a->bytes;
        result->loss -= a->loss - b->loss;
        p->chosen[s->unit] = s->to;
    }
    result->bound = result->loss;
    return i;
}

/* ---- the core, exactly ---- */

struct core {
    uint32_t *units;
    size_t count;
    uint64_t floor; /* bytes of the core with each unit's smallest level */
    uint64_t room;  /* bytes beyond that */
    uint64_t bin;   /* bytes a bin: all differences are multiples of it, unless `rounded` */
    size_t bins;
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint64_t smallest(const struct problem *p, size_t unit)
{
    return option(p, unit, first_corner(p, unit))->bytes;
}

/* Room and bins of the first `count` units of the core; `left`: bytes that all units outside of it
 * leave. */
static void measure(const struct problem *p, struct core *core, size_t count, uint64_t left)
{
    uint64_t bin = 0, most = 0;
    core->count = count;
    core->floor = 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t least = smallest(p, core->units[i]);
        uint64_t largest = least;
        for (size_t l = 0; l < p->levels; l++) {
            const uint64_t bytes = option(p, core->units[i], l)->bytes;
            if (bytes == UINT64_MAX)
                continue;
            bin = gcd(bin, bytes - least);
            largest = bytes > largest ? bytes : largest;
        }
        core->floor += least;
        most += largest - least;
    }
    core->room = left - core->floor;
    core->room = core->room < most ? core->room : most;
    core->bin = bin ? bin : 1;
    if (core->room / core->bin >= MOST_BINS)
        core->bin = core->room / MOST_BINS + 1;
    core->bins = (size_t)(core->room / core->bin) + 1;
}

/* Bins that a level of a unit takes: rounded up where the bins are not exact. */
static uint64_t bins_of(const struct problem *p, const struct core *core, size_t unit, size_t level)
{
    const uint64_t bytes = option(p, unit, level)->bytes;
    return bytes == UINT64_MAX ? UINT64_MAX
                               : (bytes - smallest(p, unit) + core->bin - 1) / core->bin;
}

/* best[b]: the least loss of the units so far within b bins; level[b]: the last one's. */
static void add_unit(const struct problem *p, const struct core *core, size_t unit,
                     const double *before, double *best, uint8_t *level)
{
    for (size_t b = 0; b < core->bins; b++)
        best[b] = INFINITY;
    for (size_t l = 0; l < p->levels; l++) {
        const uint64_t bins = bins_of(p, core, unit, l);
        const double loss = option(p, unit, l)->loss;
        for (size_t b = bins < core->bins ? (size_t)bins : core->bins; b < core->bins; b++)
            if (before[b - bins] + loss < best[b]) {
                best[b] = before[b - bins] + loss;
                level[b] = (uint8_t)l;
            }
    }
}

static moeq_status solve_core(struct problem *p, const struct core *core, moeq_error *err)
{
    double *losses = calloc(2 * core->bins, sizeof *losses);
    uint8_t *levels = malloc(core->count * core->bins + 1);
    moeq_status status = MOEQ_OK;
    if (!losses || !levels) {
        status = mq_fail_memory(err, "choosing levels");
        goto out;
    }
    double *before = losses, *best = losses + core->bins;
    for (size_t i = 0; i < core->count; i++) {
        add_unit(p, core, core->units[i], before, best, levels + i * core->bins);
        double *swap = before;
        before = best;
        best = swap;
    }
    size_t at = core->bins - 1;
    for (size_t i = core->count; i-- > 0;) {
        const uint8_t level = levels[i * core->bins + at];
        p->chosen[core->units[i]] = level;
        at -= (size_t)bins_of(p, core, core->units[i], level);
    }
out:
    free(losses);
    free(levels);
    return status;
}

/* The units by how near one of their steps is to the break, in price. */
static void order_units(const struct problem *p, size_t at_break, uint32_t *units, bool *seen)
{
    size_t n = 0, down = at_break, up = at_break;
    while (down > 0 || up < p->steps_count) {
        for (int side = 0; side < 2; side++) {
            if (side ? down == 0 : up == p->steps_count)
                continue;
            const uint32_t unit = p->steps[side ? --down : up++].unit;
            if (!seen[unit])
                units[n++] = unit;
            seen[unit] = true;
        }
    }
}

static moeq_status improve(struct problem *p, size_t at_break, const struct mq_budget_result *found,
                           moeq_error *err)
{
    struct core core = {.units = calloc(p->units, sizeof *core.units)};
    bool *seen = calloc(p->units, sizeof *seen);
    moeq_status status = MOEQ_OK;
    if (!core.units || !seen) {
        status = mq_fail_memory(err, "choosing levels");
        goto out;
    }
    order_units(p, at_break, core.units, seen);
    size_t all = 0;
    for (size_t u = 0; u < p->units; u++)
        all += seen[u];
    for (size_t count = all;; count = count / 2 > LEAST_CORE ? count / 2 : LEAST_CORE) {
        uint64_t others = found->bytes;
        for (size_t i = 0; i < count; i++)
            others -= option(p, core.units[i], p->chosen[core.units[i]])->bytes;
        measure(p, &core, count, p->budget - others);
        if (core.count * (uint64_t)core.bins <= TABLE_BYTES || count <= LEAST_CORE)
            break;
    }
    if (core.count)
        status = solve_core(p, &core, err);
out:
    free(core.units);
    free(seen);
    return status;
}

moeq_status mq_budget_choose(const struct mq_budget_option *options, size_t units, size_t levels,
                             uint64_t budget, uint8_t *chosen, struct mq_budget_result *result,
                             moeq_error *err)
{
    struct problem p = {options, units, levels, budget, chosen, NULL, 0};
    uint8_t *simple = malloc(units + 1);
    moeq_status status = MOEQ_OK;
    struct mq_budget_result found;
    if (!simple) {
        status = mq_fail_memory(err, "choosing levels");
        goto out;
    }
    MQ_TRY_OUT(make_steps(&p, err));
    add_up(&p, result);
    if (result->bytes > budget) {
        status = mq_fail(err, MOEQ_LIMIT,
                         "the smallest choice of levels takes %" PRIu64 " bytes, the budget is %" PRIu64,
                         result->bytes, budget);
        goto out;
    }
    const size_t at_break = take_steps(&p, result);
    found = *result;
    memcpy(simple, chosen, units);
    MQ_TRY_OUT(improve(&p, at_break, &found, err));
    add_up(&p, result);
    if (result->loss > found.loss) { /* only where bins are rounded */
        memcpy(chosen, simple, units);
        add_up(&p, result);
    }
    result->bound = found.bound < result->loss ? found.bound : result->loss;
out:
    free(p.steps);
    free(simple);
    return status;
}
