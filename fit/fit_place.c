/* fit_place.c: which part of a plan goes on which card, and how fast that can be. */
#include "fit_int.h"

#include "checked.h"
#include "error.h"

#include <math.h>
#include <string.h>

static const struct mq_runtime *runtime_of(const struct mq_fit *fit)
{
    return mq_fit_target_runtime(&fit->target);
}

/* What stays on the host: everything of the first layers, and the experts of the first expert_layers. */
struct split {
    uint32_t layers, experts;
};

/* What a card has for weights and cache. With weights on the host llama.cpp makes no pipeline of the cards
 * (llama_context), and copies a matrix that is multiplied by a whole micro-batch to a card (op_offload). */
static uint64_t capacity(const struct mq_fit_parts *p, uint32_t card, struct split host,
                         uint64_t tokens)
{
    const struct mq_fit *fit = p->fit;
    const bool all_here = !host.layers && !host.experts;
    const uint64_t reserved =
        ((uint64_t)runtime_of(fit)->margin_mib << 20) + (all_here ? 0 : p->widest) +
        mq_fit_buffer_bytes(fit, tokens, all_here ? mq_fit_copies(&fit->target) : 1,
                            runtime_of(fit)->logit_rows);
    const uint64_t usable =
        fit->target.card[card].usable_bytes * runtime_of(fit)->used_percent / 100;
    return usable > reserved ? usable - reserved : 0;
}

static uint64_t layer_bytes(const struct mq_fit_parts *p, uint32_t l, struct split host,
                            uint64_t tokens)
{
    return p->layer[l] + mq_fit_cache_bytes(p->fit, l, tokens) + mq_fit_state_bytes(p->fit, l) -
           (l < host.experts ? p->experts[l] : 0);
}

/* Every card has the same of each layer: as much as the smallest holds. */
static bool fits_split(const struct mq_fit_parts *p, uint64_t tokens)
{
    const struct split none = {0};
    uint64_t least = UINT64_MAX, all = p->output;
    for (uint32_t i = 0; i < p->fit->target.cards; i++)
        least = mq_min_u64(least, capacity(p, i, none, tokens));
    for (uint32_t l = 0; l < p->layers; l++)
        all += layer_bytes(p, l, none, tokens);
    return all <= least * p->fit->target.cards;
}

/*
 * True if everything but what the host has fits with a cache of so many tokens. Filling card after card
 * in order is optimal, because each card must hold consecutive layers. More on the host, or fewer tokens,
 * do not turn true into false: callers search by bisection. on_card: layers of each, the output as one
 * more; may be NULL.
 */
static bool fits(const struct mq_fit_parts *p, struct split host, uint64_t tokens,
                 uint32_t *on_card)
{
    if (runtime_of(p->fit)->splits_layers)
        return fits_split(p, tokens);
    uint64_t left = capacity(p, 0, host, tokens);
    uint32_t card = 0;
    for (uint32_t l = host.layers; l <= p->layers; l++) {
        const uint64_t bytes = l == p->layers ? p->output : layer_bytes(p, l, host, tokens);
        while (bytes > left) {
            if (++card == p->fit->target.cards)
                return false;
            left = capacity(p, card, host, tokens);
        }
        left -= bytes;
        if (on_card)
            on_card[card]++;
    }
    return true;
}

/* The longest context that fits, 0 if not even one token. */
static uint64_t longest_context(const struct mq_fit_parts *p)
{
    const struct split none = {0};
    uint64_t low = 0, high = mq_max_u64(p->fit->view->hparams.max_positions, p->fit->context);
    while (low < high) {
        const uint64_t middle = low + (high - low + 1) / 2;
        if (fits(p, none, middle, NULL))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Of a layer's experts, the bytes that one token reads: those of top_k of mean size. */
static uint64_t used_share(const struct mq_fit_parts *p, uint32_t layer)
{
    return mq_layer_used_share(&p->fit->view->program->layers[layer]->layer, p->experts[layer]);
}

/* The fewest layers on the host, of either kind. */
static struct mq_fit_offload fewest(const struct mq_fit_parts *p, bool only_experts)
{
    const uint64_t tokens = p->fit->context;
    struct mq_fit_offload o = {0};
    uint32_t low = 0, high = p->layers;
#define HOST(n) (only_experts ? (struct split){0, n} : (struct split){n, 0})
    if ((only_experts && !mq_view_has_experts(p->fit->view)) || !fits(p, HOST(high), tokens, NULL))
        return o;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (fits(p, HOST(middle), tokens, NULL))
            high = middle;
        else
            low = middle + 1;
    }
    o.possible = true;
    o.layers = low;
    fits(p, HOST(low), tokens, o.on_card);
#undef HOST
    for (uint32_t l = 0; l < low; l++) {
        const uint64_t kv = mq_fit_cache_bytes(p->fit, l, tokens) + mq_fit_state_bytes(p->fit, l);
        const uint64_t active = used_share(p, l);
        o.bytes += only_experts ? p->experts[l] : p->layer[l] + kv;
        o.active_bytes += only_experts ? active : p->layer[l] - p->experts[l] + active + kv;
    }
    return o;
}

/* Tensors of a layer stand together; all matrices of a role in it are one. */
static void collect_layer(struct mq_fit_parts *p, const struct mq_plan_entry *e, uint64_t *roles,
                          int *of_layer)
{
    const struct mq_tensor *t = e->tensor;
    const bool expert = t->expert >= 0;
    p->layer[t->layer] += e->size_bytes;
    p->experts[t->layer] += expert ? e->size_bytes : 0;
    if (*of_layer != t->layer)
        memset(roles, 0, MQ_ROLE_COUNT * sizeof *roles);
    *of_layer = t->layer;
    roles[t->role] = (expert ? roles[t->role] : 0) + e->size_bytes;
    p->widest = mq_max_u64(p->widest, roles[t->role]);
}

moeq_status mq_fit_collect(const struct mq_fit *fit, const struct mq_plan *plan,
                           struct mq_fit_parts *p, struct mq_fit_row *row, moeq_error *err)
{
    const struct mq_hparams *h = &fit->view->hparams;
    uint64_t roles[MQ_ROLE_COUNT] = {0};
    int of_layer = -1;
    *p = (struct mq_fit_parts){.fit = fit, .layers = h->layers};
    p->layer = mq_arena_alloc(plan->arena, h->layers, sizeof *p->layer);
    p->experts = mq_arena_alloc(plan->arena, h->layers, sizeof *p->experts);
    if (!p->layer || !p->experts)
        return mq_fail_memory(err, "fitting a model");
    for (size_t i = 0; i < fit->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const bool lookup = e->tensor->role == MQ_ROLE_EMBEDDING && !h->tied_head;
        if (e->tensor->layer >= 0)
            collect_layer(p, e, roles, &of_layer);
        else if (lookup && !fit->target.unified && runtime_of(fit)->table_on_host)
            row->host_embedding_bytes += e->size_bytes;
        else
            p->output += e->size_bytes;
        /* A table that is only looked up in costs a token one row. */
        if (e->tensor->expert < 0)
            row->active_bytes += lookup ? e->row_bytes : e->size_bytes;
    }
    for (uint32_t l = 0; l < h->layers; l++)
        row->active_bytes += used_share(p, l);
    return MOEQ_OK;
}

/* ---- speed ---- */

/* Seconds that the cards need to read `bytes`, of `all` that lie on them: they work one after the
 * other, and the fastest are taken to hold as much as they can. 0: a bandwidth is unknown. */
static double in_turn_seconds(const struct mq_fit_target *t, uint64_t bytes, uint64_t all)
{
    bool taken[MQ_GPU_MAX_CARDS] = {false};
    double seconds = 0, left = (double)all;
    for (uint32_t n = 0; n < t->cards && left > 0; n++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < t->cards; i++)
            if (!taken[i] &&
                (best == UINT32_MAX || t->card[i].bandwidth_gbs > t->card[best].bandwidth_gbs))
                best = i;
        const struct mq_fit_card *card = &t->card[best];
        /* What does not fit is on the last card. */
        const double here = n + 1 < t->cards ? fmin(left, (double)card->usable_bytes) : left;
        taken[best] = true;
        left -= here;
        if (!card->bandwidth_gbs)
            return 0;
        seconds += here / (1e9 * card->bandwidth_gbs);
    }
    return all ? seconds * (double)bytes / (double)all : 0;
}

/* The same where each has an equal part of everything: the slowest says when all are done. */
static double at_once_seconds(const struct mq_fit_target *t, uint64_t bytes)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < t->cards; i++)
        least = t->card[i].bandwidth_gbs < least ? t->card[i].bandwidth_gbs : least;
    return least ? (double)bytes / (1e9 * least * t->cards) : 0;
}

/*
 * One stream reads every active weight, the whole cache and the states once for each token, so
 *     seconds a token >= bytes on the cards / their bandwidth + bytes on the host / its bandwidth.
 */
static double tokens_per_second(const struct mq_fit *fit, const struct mq_fit_row *row,
                                uint64_t tokens, const struct mq_fit_offload *o)
{
    const uint64_t kv = mq_fit_kv_bytes(fit, tokens) + fit->state_bytes;
    const uint64_t host = o ? o->active_bytes : 0;
    const uint64_t here = row->active_bytes + kv - host;
    const uint64_t all = row->card_weight_bytes + kv - (o ? o->bytes : 0);
    const double seconds = runtime_of(fit)->splits_layers
                               ? at_once_seconds(&fit->target, here)
                               : in_turn_seconds(&fit->target, here, all);
    return seconds > 0 ? 1 / (seconds + (double)host / (1e9 * MQ_FIT_HOST_GBS)) : 0;
}

/* ---- verdict ---- */

const struct mq_fit_offload *mq_fit_row_offload(const struct mq_fit_row *row)
{
    /* Experts first: attention and the cache, which every token reads whole, stay on the card. */
    return row->experts.possible ? &row->experts : row->layers.possible ? &row->layers : NULL;
}

static void sum_up(const struct mq_fit *fit, struct mq_fit_row *row)
{
    const uint64_t cards = fit->target.cards;
    const uint64_t usable = mq_fit_target_usable(&fit->target);
    const struct mq_runtime *r = runtime_of(fit);
    row->card_weight_bytes = row->weight_bytes - row->host_embedding_bytes;
    row->kv_bytes = mq_fit_kv_bytes(fit, fit->context);
    row->state_bytes = fit->state_bytes;
    row->compute_bytes = cards * fit->compute_bytes;
    row->margin_bytes = (cards * r->margin_mib << 20) + usable - usable * r->used_percent / 100;
    row->needed_bytes = row->card_weight_bytes + row->kv_bytes + row->state_bytes +
                        row->compute_bytes + row->margin_bytes;
    row->spare_bytes = (int64_t)usable - (int64_t)row->needed_bytes;
}

void mq_fit_place(const struct mq_fit_parts *p, struct mq_fit_row *row)
{
    const struct mq_fit *fit = p->fit;
    const struct split none = {0};
    sum_up(fit, row);
    row->max_context = longest_context(p);
    row->verdict = row->max_context >= fit->context         ? MQ_FIT_FITS
                   : row->max_context >= MQ_FIT_MIN_CONTEXT ? MQ_FIT_SHORTER
                                                            : MQ_FIT_NO;
    if (row->verdict != MQ_FIT_NO) {
        const uint64_t tokens = mq_min_u64(row->max_context, fit->context);
        fits(p, none, tokens, row->on_card);
        row->tokens_per_second = tokens_per_second(fit, row, tokens, NULL);
    }
    if (row->verdict == MQ_FIT_FITS || fit->target.unified || !runtime_of(fit)->offloads)
        return;
    struct mq_fit_offload *const ways[] = {&row->layers, &row->experts};
    for (int i = 0; i < 2; i++) {
        *ways[i] = fewest(p, i == 1);
        if (ways[i]->possible)
            ways[i]->tokens_per_second = tokens_per_second(fit, row, fit->context, ways[i]);
    }
    const struct mq_fit_offload *o = mq_fit_row_offload(row);
    if (row->verdict == MQ_FIT_NO && o) {
        row->verdict = MQ_FIT_OFFLOAD;
        row->tokens_per_second = o->tokens_per_second;
    }
}

/* ---- more cards ---- */

/* What one of so many cards, all as the first one, has for weights, cache and states. */
static uint64_t room_of_card(const struct mq_fit *fit, uint64_t tokens)
{
    const struct mq_fit_parts p = {.fit = fit};
    const struct split none = {0};
    return capacity(&p, 0, none, tokens);
}

uint64_t mq_fit_weights_room(const struct mq_fit *fit)
{
    struct mq_fit one = *fit;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < fit->target.cards; i++) {
        one.target.card[0] = fit->target.card[i];
        sum += room_of_card(&one, MQ_FIT_MIN_CONTEXT);
    }
    return sum;
}

/* vLLM refuses heads that the cards do not divide (ModelConfig.verify_with_parallel_config). */
static bool divides_heads(const struct mq_fit *fit, uint32_t cards)
{
    for (uint32_t l = 0; l < fit->view->hparams.layers; l++)
        if (fit->view->program->layers[l]->layer.attention.heads % cards)
            return false;
    return true;
}

uint32_t mq_fit_cards_needed(const struct mq_fit *fit, const struct mq_fit_row *row)
{
    if (!runtime_of(fit)->splits_layers || !mq_fit_target_is_even(&fit->target))
        return 0;
    struct mq_fit more = *fit;
    for (uint32_t n = fit->target.cards; n <= MQ_GPU_MAX_CARDS; n++) {
        more.target.cards = n;
        more.target.card[n - 1] = fit->target.card[0];
        const uint64_t all =
            row->card_weight_bytes + mq_fit_kv_bytes(&more, fit->context) + fit->state_bytes;
        if (divides_heads(fit, n) && all <= n * room_of_card(&more, fit->context))
            return n;
    }
    return 0;
}
