/* fit_target.c: cards by name or by memory, and what runs on them. */
#include "fit_target.h"

#include "checked.h"
#include "cpu.h"
#include "error.h"
#include "gpu_auto.h"
#include "nearest.h"
#include "sizes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "--" or "": how the options are spelt in messages. */
static moeq_status unknown_gpu(const char *dash, const struct mq_gpu_search *s, moeq_error *err)
{
    enum { MAX_NAMES = 256 };
    char list[800] = "";
    uint32_t size = 0; /* one of a card that has several */
    for (size_t i = 0; i < s->candidates_count; i++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s", i ? "; " : "");
        mq_gpu_describe(s->candidates[i], list + strlen(list), sizeof list - strlen(list));
        size = size ? size : mq_gpu_size_gb(s->candidates[i], 1);
    }
    if (s->candidates_count && !s->is_near) {
        char hint[160] = "";
        if (s->has_size) {
            const bool several = mq_gpu_size_gb(s->candidates[0], 1) > 0;
            snprintf(hint, sizeof hint, " Its name in full is one, as in '%.80s",
                     s->candidates[0]->name);
            snprintf(hint + strlen(hint), sizeof hint - strlen(hint), several ? " %uGB'." : "'.",
                     s->memory_gb);
        } else if (size)
            snprintf(hint, sizeof hint, " With its memory it is one, as in '%.80s %uGB'.", s->name,
                     size);
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%sgpu '%s' could be: %s.%s %svram SIZE takes any other card", dash, s->name,
                       list, hint, dash);
    }
    /* Words are of no help ("409O"): by spelling. */
    const char *names[MAX_NAMES], *near = NULL;
    size_t n = 0;
    for (; n < mq_gpus_count && n < MAX_NAMES; n++)
        names[n] = mq_gpus[n].forms;
    if (!s->candidates_count && (near = mq_nearest(s->name, names, n)) != NULL)
        for (n = 0; n < mq_gpus_count; n++)
            if (mq_gpus[n].forms == near)
                mq_gpu_describe(&mq_gpus[n], list, sizeof list);
    return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                   "%sgpu '%s' is not in the list (%s)%s%s; %svram SIZE takes any other", dash,
                   s->name, *dash ? "--list-gpus" : "moeq fit --list-gpus",
                   list[0] ? "; near it: " : "", list, dash);
}

/* What `vram` gives: sizes, one for each card of the list. */
struct sizes {
    uint64_t bytes[MQ_GPU_MAX_CARDS];
    uint32_t count;
};

/* Adds n times the same. */
static moeq_status add_size(struct sizes *s, uint64_t bytes, uint32_t n, moeq_error *err)
{
    if (n > MQ_GPU_MAX_CARDS - s->count)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "at most %d cards", MQ_GPU_MAX_CARDS);
    while (n--)
        s->bytes[s->count++] = bytes;
    return MOEQ_OK;
}

/* "24GiB", "2x24GiB", "24GiB,12GiB" */
static moeq_status parse_sizes(const struct mq_fit_request *r, struct sizes *sizes, moeq_error *err)
{
    char list[2048], *rest = list, *item;
    sizes->count = 0;
    if (!mq_gpu_list(r->vram, list, sizeof list))
        snprintf(list, sizeof list, "?"); /* whatever it is: no list of sizes */
    while ((item = strsep(&rest, ","))) {
        uint32_t cards;
        uint64_t bytes = 0;
        char *to = item;
        for (const char *from = item; *from; from++) /* "24 GiB" */
            if (*from != ' ')
                *to++ = *from;
        *to = '\0';
        const char *size = mq_gpu_split_count(item, &cards);
        if (!mq_parse_size(size + strspn(size, " "), &bytes) || bytes < 1 << 20 || bytes >> 50)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "%svram '%s': expected a size such as 24GiB, or those of several cards, "
                           "such as 2x24GiB or 24GiB,12GiB",
                           r->dash, r->vram);
        MQ_TRY(add_size(sizes, bytes, cards, err));
    }
    return MOEQ_OK;
}

/* The one card that a name means. Of a machine of unified memory that is sold with several sizes,
 * `bytes` of `vram` (0: not given) may say which: then *is_size. */
static moeq_status find_gpu(const char *dash, const char *name, uint64_t bytes,
                            struct mq_gpu_search *search, bool *is_size, moeq_error *err)
{
    *is_size = false;
    if (mq_gpu_search(name, search))
        return MOEQ_OK;
    bool unified = bytes > 0 && search->candidates_count > 0 && !search->is_near;
    for (size_t i = 0; i < search->candidates_count; i++)
        unified &= mq_gpu_is_unified(search->candidates[i]->memory);
    char sized[128];
    struct mq_gpu_search again;
    snprintf(sized, sizeof sized, "%.100s %" PRIu64 "GB", name, bytes >> 30);
    if (unified && mq_gpu_search(sized, &again)) {
        *search = again;
        *is_size = true;
        return MOEQ_OK;
    }
    return unknown_gpu(dash, search, err);
}

/* The cards of one name; bytes: what `vram` says of each of them, NULL if nothing: what is usable,
 * or the size that the name leaves open. */
static moeq_status add_gpu(const char *dash, const char *name, const uint64_t *bytes,
                           struct mq_fit_target *target, moeq_error *err)
{
    struct mq_gpu_search s;
    bool is_size;
    MQ_TRY(find_gpu(dash, name, bytes ? *bytes : 0, &s, &is_size, err));
    const uint64_t label = (uint64_t)s.memory_gb << 30;
    const uint32_t before = target->cards;
    if (!mq_fit_target_add(target, s.gpu, label, s.cards))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%sgpu '%s': at most %d cards", dash, name,
                       MQ_GPU_MAX_CARDS);
    if (target->unified && target->cards > 1)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%sgpu '%s': a machine of unified memory stands alone: name one", dash,
                       name);
    /* All of the memory of a machine is its size, too: the system needs some. */
    is_size |= bytes && target->unified && *bytes >= label;
    for (uint32_t i = before; bytes && !is_size && i < target->cards; i++) {
        target->card[i].usable_bytes = bytes[i - before];
        target->card[i].label_bytes = 0;
    }
    return MOEQ_OK;
}

/* The sizes of `vram`, one for each card of the list of names: as given, or each name's or the only
 * one repeated. */
static moeq_status spread_sizes(const char *dash, const char *list, const struct sizes *given,
                                struct sizes *sizes, moeq_error *err)
{
    uint32_t cards[MQ_GPU_MAX_CARDS], names = 0, all = 0;
    sizes->count = 0;
    for (const char *p = list; p && names < MQ_GPU_MAX_CARDS; names++) {
        mq_gpu_split_count(p, &cards[names]);
        all += cards[names];
        p = strchr(p, ',');
        p += p != NULL;
    }
    if (given->count == 1)
        return add_size(sizes, given->bytes[0], (uint32_t)mq_min_u64(all, MQ_GPU_MAX_CARDS), err);
    if (given->count == all) {
        *sizes = *given;
        return MOEQ_OK;
    }
    if (given->count != names)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%svram gives %u sizes and %sgpu %u cards: give one size, or one for each",
                       dash, given->count, dash, all);
    for (uint32_t i = 0; i < names; i++)
        MQ_TRY(add_size(sizes, given->bytes[i], cards[i], err));
    return MOEQ_OK;
}

/* "A,B,..." */
static moeq_status add_gpus(const char *dash, char *list, const struct sizes *given,
                            struct mq_fit_target *target, moeq_error *err)
{
    struct sizes sizes = {.count = 0};
    if (given->count)
        MQ_TRY(spread_sizes(dash, list, given, &sizes, err));
    for (char *name; (name = strsep(&list, ","));)
        MQ_TRY(add_gpu(dash, name + strspn(name, " "),
                       target->cards < sizes.count ? &sizes.bytes[target->cards] : NULL, target,
                       err));
    return MOEQ_OK;
}

/* "900", "936,360", "2x936": GB/s of each card, one for all or as many as there are. */
static moeq_status add_bandwidth(const struct mq_fit_request *r, struct mq_fit_target *target,
                                 moeq_error *err)
{
    char list[512], *rest = list, *item;
    uint32_t given[MQ_GPU_MAX_CARDS], count = 0;
    bool good = mq_gpu_list(r->bandwidth, list, sizeof list);
    while (good && (item = strsep(&rest, ","))) {
        uint32_t n;
        char *end;
        const char *figure = mq_gpu_split_count(item, &n);
        const double gbs = strtod(figure, &end);
        good = end != figure && !*end && gbs >= 1 && gbs <= 1e6 && n <= MQ_GPU_MAX_CARDS - count;
        while (good && n--)
            given[count++] = (uint32_t)gbs;
    }
    if (!good || (count != 1 && count != target->cards))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%sbandwidth '%s': expected GB/s, one figure or one for each of %u card%s, "
                       "such as 936 or 936,360",
                       r->dash, r->bandwidth, target->cards, target->cards == 1 ? "" : "s");
    for (uint32_t i = 0; i < target->cards; i++)
        target->card[i].bandwidth_gbs = given[count == 1 ? 0 : i];
    return MOEQ_OK;
}

static moeq_status add_cards(const struct mq_fit_request *r, struct mq_fit_target *target,
                             moeq_error *err)
{
    struct sizes sizes = {.count = 0};
    char list[2048];
    if (!r->gpu && !r->vram)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "the card is missing: %sgpu NAME (see %s) or %svram SIZE", r->dash,
                       *r->dash ? "--list-gpus" : "moeq fit --list-gpus", r->dash);
    if (r->gpu && strcasecmp(r->gpu, "auto") == 0 && !r->vram)
        return mq_gpu_auto(r->dash, target, err);
    if (r->vram)
        MQ_TRY(parse_sizes(r, &sizes, err));
    if (r->gpu && !mq_gpu_list(r->gpu, list, sizeof list))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%sgpu: a list this long is none of cards",
                       r->dash);
    if (r->gpu)
        return add_gpus(r->dash, list, &sizes, target, err);
    for (uint32_t i = 0; i < sizes.count; i++)
        mq_fit_target_add_bytes(target, sizes.bytes[i], 1);
    return MOEQ_OK;
}

/* MLX: a card of another maker is no target, memory given as a number is taken for a Mac's. */
static moeq_status check_cards(const struct mq_fit_request *r, const struct mq_fit_target *target,
                               moeq_error *err)
{
    for (uint32_t i = 0; i < target->cards && target->runtime->apple_only; i++) {
        const struct mq_gpu *gpu = target->card[i].gpu;
        if (target->cards > 1 || (gpu && gpu->memory != MQ_GPU_APPLE))
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "%sruntime %s runs on one Mac: expected %sgpu \"M2 Max 32GB\" or %svram "
                           "SIZE, not %s",
                           r->dash, target->runtime->name, r->dash, r->dash,
                           target->cards > 1 ? "several cards" : gpu->name);
    }
    return MOEQ_OK;
}

/* --ram, or what this machine has where its card is asked for. */
static moeq_status add_host(const struct mq_fit_request *r, struct mq_fit_target *target,
                            moeq_error *err)
{
    if (!r->ram) {
        if (r->gpu && strcasecmp(r->gpu, "auto") == 0)
            target->host_bytes = mq_physical_memory_bytes();
        return MOEQ_OK;
    }
    if (mq_parse_size(r->ram, &target->host_bytes) && target->host_bytes >= 1u << 30 &&
        !(target->host_bytes >> 50))
        return MOEQ_OK;
    return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%sram '%s': expected a size such as 64GiB", r->dash,
                   r->ram);
}

static moeq_status find_runtime(const struct mq_fit_request *r, const struct mq_runtime **runtime,
                                moeq_error *err)
{
    *runtime = mq_runtime_find(r->runtime ? r->runtime : mq_runtimes[0].name);
    return *runtime
               ? MOEQ_OK
               : mq_fail(err, MOEQ_INVALID_ARGUMENT,
                         "%sruntime '%s': expected llama.cpp (ollama and lmstudio, which run it, "
                         "too), vllm, sglang, mlx, or of fit moeq",
                         r->dash, r->runtime);
}

static moeq_status find_kv(const struct mq_fit_request *r, const struct mq_runtime *runtime,
                           const struct mq_kv_kind **kv, moeq_error *err)
{
    const char *name = r->kv ? r->kv : "f16";
    char names[128];
    *kv = mq_kv_kind_find(name);
    if (*kv && ((*kv)->runtimes & runtime->bit))
        return MOEQ_OK;
    mq_kv_kind_names(runtime, names, sizeof names);
    return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%skv '%s': expected %s, as %s takes them", r->dash,
                   name, names, runtime->name);
}

moeq_status mq_fit_request_read(const struct mq_fit_request *r, struct mq_fit_target *target,
                                const struct mq_kv_kind **kv, moeq_error *err)
{
    *target = (struct mq_fit_target){.no_flash_attention = r->no_flash_attention};
    MQ_TRY(find_runtime(r, &target->runtime, err));
    MQ_TRY(find_kv(r, target->runtime, kv, err));
    MQ_TRY(add_cards(r, target, err));
    MQ_TRY(check_cards(r, target, err));
    MQ_TRY(add_host(r, target, err));
    return r->bandwidth ? add_bandwidth(r, target, err) : MOEQ_OK;
}
