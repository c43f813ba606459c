/* fit_target.c: --gpu and --vram: cards by name or by memory. */
#include "fit_target.h"

#include "checked.h"
#include "cpu.h"
#include "gpu_auto.h"
#include "nearest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void unknown_gpu(const char *command, const struct mq_gpu_search *s)
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
        mq_usage(command, "--gpu '%s' could be: %s.%s --vram SIZE takes any other card", s->name,
                 list, hint);
        return;
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
    mq_usage(command,
             "--gpu '%s' is not in the list (--list-gpus)%s%s; --vram SIZE takes any other",
             s->name, list[0] ? "; near it: " : "", list);
}

/* What --vram gives: sizes, one for each card of the list. */
struct sizes {
    uint64_t bytes[MQ_GPU_MAX_CARDS];
    uint32_t count;
};

/* Adds n times the same; false, having said so, if there are too many. */
static bool add_size(const char *command, struct sizes *s, uint64_t bytes, uint32_t n)
{
    if (n > MQ_GPU_MAX_CARDS - s->count) {
        mq_usage(command, "at most %d cards", MQ_GPU_MAX_CARDS);
        return false;
    }
    while (n--)
        s->bytes[s->count++] = bytes;
    return true;
}

/* "24GiB", "2x24GiB", "24GiB,12GiB" */
static bool parse_sizes(const char *command, const char *text, struct sizes *sizes)
{
    char list[2048], *rest = list, *item;
    bool good = true;
    sizes->count = 0;
    if (!mq_gpu_list(text, list, sizeof list))
        snprintf(list, sizeof list, "?"); /* whatever it is: no list of sizes */
    while (good && (item = strsep(&rest, ","))) {
        uint32_t cards;
        uint64_t bytes = 0;
        char *to = item;
        for (const char *from = item; *from; from++) /* "24 GiB" */
            if (*from != ' ')
                *to++ = *from;
        *to = '\0';
        const char *size = mq_gpu_split_count(item, &cards);
        good =
            mq_parse_size(size + strspn(size, " "), &bytes) && bytes >= 1 << 20 && !(bytes >> 50);
        if (!good)
            mq_usage(command,
                     "--vram '%s': expected a size such as 24GiB, or those of several cards, such "
                     "as 2x24GiB or 24GiB,12GiB",
                     text);
        good = good && add_size(command, sizes, bytes, cards);
    }
    return good;
}

/* The one card that a name means. Of a machine of unified memory that is sold with several sizes,
 * `bytes` of --vram (0: not given) may say which: then *is_size. */
static bool find_gpu(const char *command, const char *name, uint64_t bytes,
                     struct mq_gpu_search *search, bool *is_size)
{
    *is_size = false;
    if (mq_gpu_search(name, search))
        return true;
    bool unified = bytes > 0 && search->candidates_count > 0 && !search->is_near;
    for (size_t i = 0; i < search->candidates_count; i++)
        unified &= mq_gpu_is_unified(search->candidates[i]->memory);
    char sized[128];
    struct mq_gpu_search again;
    snprintf(sized, sizeof sized, "%.100s %" PRIu64 "GB", name, bytes >> 30);
    if (unified && mq_gpu_search(sized, &again)) {
        *search = again;
        *is_size = true;
        return true;
    }
    unknown_gpu(command, search);
    return false;
}

/* The cards of one name; bytes: what --vram says of each of them, NULL if nothing: what is usable,
 * or the size that the name leaves open. */
static bool add_gpu(const char *command, const char *name, const uint64_t *bytes,
                    struct mq_fit_target *target)
{
    struct mq_gpu_search s;
    bool is_size;
    if (!find_gpu(command, name, bytes ? *bytes : 0, &s, &is_size))
        return false;
    const uint64_t label = (uint64_t)s.memory_gb << 30;
    const uint32_t before = target->cards;
    if (!mq_fit_target_add(target, s.gpu, label, s.cards)) {
        mq_usage(command, "--gpu '%s': at most %d cards", name, MQ_GPU_MAX_CARDS);
        return false;
    }
    if (target->unified && target->cards > 1) {
        mq_usage(command, "--gpu '%s': a machine of unified memory stands alone: name one", name);
        return false;
    }
    /* All of the memory of a machine is its size, too: the system needs some. */
    is_size |= bytes && target->unified && *bytes >= label;
    for (uint32_t i = before; bytes && !is_size && i < target->cards; i++) {
        target->card[i].usable_bytes = bytes[i - before];
        target->card[i].label_bytes = 0;
    }
    return true;
}

/* The sizes of --vram, one for each card of the list of names: as given, or each name's or the only
 * one repeated. */
static bool spread_sizes(const char *command, const char *list, const struct sizes *given,
                         struct sizes *sizes)
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
        return add_size(command, sizes, given->bytes[0],
                        (uint32_t)mq_min_u64(all, MQ_GPU_MAX_CARDS));
    if (given->count == all) {
        *sizes = *given;
        return true;
    }
    if (given->count != names) {
        mq_usage(command,
                 "--vram gives %u sizes and --gpu %u cards: give one size, or one for each",
                 given->count, all);
        return false;
    }
    for (uint32_t i = 0; i < names; i++)
        if (!add_size(command, sizes, given->bytes[i], cards[i]))
            return false;
    return true;
}

/* --gpu A,B,... */
static bool add_gpus(const char *command, const char *list, const struct sizes *given,
                     struct mq_fit_target *target)
{
    struct sizes sizes = {.count = 0};
    if (given->count && !spread_sizes(command, list, given, &sizes))
        return false;
    char *copy = mq_said_memory(strdup(list)), *rest = copy, *name;
    bool good = copy != NULL;
    while (good && (name = strsep(&rest, ",")))
        good = add_gpu(command, name + strspn(name, " "),
                       target->cards < sizes.count ? &sizes.bytes[target->cards] : NULL, target);
    free(copy);
    return good;
}

/* "900", "936,360", "2x936": GB/s of each card, one for all or as many as there are. */
static bool add_bandwidth(const char *command, const char *text, struct mq_fit_target *target)
{
    char list[512], *rest = list, *item;
    uint32_t given[MQ_GPU_MAX_CARDS], count = 0;
    bool good = mq_gpu_list(text, list, sizeof list);
    while (good && (item = strsep(&rest, ","))) {
        uint32_t n;
        char *end;
        const char *figure = mq_gpu_split_count(item, &n);
        const double gbs = strtod(figure, &end);
        good = end != figure && !*end && gbs >= 1 && gbs <= 1e6 && n <= MQ_GPU_MAX_CARDS - count;
        while (good && n--)
            given[count++] = (uint32_t)gbs;
    }
    if (!good || (count != 1 && count != target->cards)) {
        mq_usage(command,
                 "--bandwidth '%s': expected GB/s, one figure or one for each of %u card%s, "
                 "such as 936 or 936,360",
                 text, target->cards, target->cards == 1 ? "" : "s");
        return false;
    }
    for (uint32_t i = 0; i < target->cards; i++)
        target->card[i].bandwidth_gbs = given[count == 1 ? 0 : i];
    return true;
}

static bool add_cards(const char *command, const struct mq_options *options,
                      struct mq_fit_target *target)
{
    struct sizes sizes = {.count = 0};
    char list[2048];
    if (options->gpu && strcasecmp(options->gpu, "auto") == 0 && !options->vram)
        return mq_gpu_auto(command, target);
    if (options->vram && !parse_sizes(command, options->vram, &sizes))
        return false;
    if (options->gpu && !mq_gpu_list(options->gpu, list, sizeof list)) {
        mq_usage(command, "--gpu: a list this long is none of cards");
        return false;
    }
    if (options->gpu)
        return add_gpus(command, list, &sizes, target);
    for (uint32_t i = 0; i < sizes.count; i++)
        mq_fit_target_add_bytes(target, sizes.bytes[i], 1);
    return true;
}

/* --ram, or what this machine has where its card is asked for. */
static bool add_host(const char *command, const struct mq_options *options,
                     struct mq_fit_target *target)
{
    if (options->ram) {
        if (mq_parse_size(options->ram, &target->host_bytes) && target->host_bytes >= 1u << 30 &&
            !(target->host_bytes >> 50))
            return true;
        mq_usage(command, "--ram '%s': expected a size such as 64GiB", options->ram);
        return false;
    }
    if (options->gpu && strcasecmp(options->gpu, "auto") == 0)
        target->host_bytes = mq_physical_memory_bytes();
    return true;
}

bool mq_option_fit_target(const char *command, const struct mq_options *options,
                          struct mq_fit_target *target)
{
    const struct mq_runtime *runtime;
    if (!mq_option_runtime(command, options, &runtime))
        return false;
    *target = (struct mq_fit_target){.no_flash_attention = options->no_flash_attention,
                                     .runtime = runtime};
    if (!options->gpu && !options->vram) {
        mq_usage(command, "the card is missing: --gpu NAME (see --list-gpus) or --vram SIZE");
        return false;
    }
    return add_cards(command, options, target) && add_host(command, options, target) &&
           (!options->bandwidth || add_bandwidth(command, options->bandwidth, target));
}

bool mq_option_runtime(const char *command, const struct mq_options *options,
                       const struct mq_runtime **runtime)
{
    *runtime = mq_runtime_find(options->runtime ? options->runtime : mq_runtimes[0].name);
    if (*runtime)
        return true;
    mq_usage(command,
             "--runtime '%s': expected llama.cpp (ollama and lmstudio, which run it, too), vllm, "
             "or of fit moeq",
             options->runtime);
    return false;
}

const struct mq_kv_kind *mq_option_kv(const char *command, const struct mq_options *options)
{
    const char *name = options->kv ? options->kv : "f16";
    const struct mq_runtime *runtime;
    if (!mq_option_runtime(command, options, &runtime))
        return NULL;
    const struct mq_kv_kind *kind = mq_kv_kind_find(name);
    char names[128];
    mq_kv_kind_names(runtime, names, sizeof names);
    if (kind && (kind->runtimes & runtime->bit))
        return kind;
    mq_usage(command, "--kv '%s': expected %s, as %s takes them", name, names, runtime->name);
    return NULL;
}
