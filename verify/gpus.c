/* gpus.c: what a card's memory holds, and finding a card in the table (gpu_table.c). */
#include "gpus.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Shares of the label, in 1/10000, of machines below large_gb and from there on:
 *  - dedicated: cards sold as 24 GB report 23.5 to 24.0 GiB to programs, 98 % at the low end;
 *  - ECC in line: of every 16 bytes one holds check bits, which leaves 15/16 (an L4 reports
 *    23,034 MiB and an L40S 46,068 MiB);
 *  - Apple: macOS's default for what a graphics program may keep resident, which llama.cpp prints
 * as recommendedMaxWorkingSetSize: 10,922 MiB of 16 GB, 21,845 of 32, 27,648 of 36, 49,152 of 64;
 *  - unified: the others of this kind need about as much for the system.
 */
static const struct {
    uint32_t small_share, share, large_gb;
    const char *rule;
} memory_rules[MQ_GPU_MEMORY_COUNT] = {
    [MQ_GPU_DEDICATED] = {9800, 9800, 0, "98 % of the label is usable"},
    [MQ_GPU_INLINE_ECC] = {9375, 9375, 0, "15/16 of the label is usable, the rest is for ECC"},
    [MQ_GPU_UNIFIED] = {7500, 7500, 0, "75 % of the unified memory is usable"},
    [MQ_GPU_APPLE] = {6666, 7500, 36,
                      "of unified memory macOS lets graphics use two thirds below 36 GB, three "
                      "quarters from there on"},
};

uint64_t mq_gpu_usable_bytes(enum mq_gpu_memory memory, uint64_t label_bytes)
{
    const bool is_small = label_bytes < (uint64_t)memory_rules[memory].large_gb << 30;
    /* Below 2^50 bytes: no overflow. */
    return label_bytes *
           (is_small ? memory_rules[memory].small_share : memory_rules[memory].share) / 10000;
}

const char *mq_gpu_memory_rule(enum mq_gpu_memory memory)
{
    return memory_rules[memory].rule;
}

uint32_t mq_gpu_size_gb(const struct mq_gpu *gpu, size_t i)
{
    char *p = (char *)gpu->sizes_gb;
    unsigned long size = 0;
    do
        size = strtoul(p, &p, 10);
    while (size && i--);
    return (uint32_t)size;
}

void mq_gpu_describe(const struct mq_gpu *gpu, char *text, size_t room)
{
    size_t used = (size_t)snprintf(text, room, "%s", gpu->name);
    for (size_t i = 0; mq_gpu_size_gb(gpu, 1) && mq_gpu_size_gb(gpu, i) && used < room; i++)
        used += (size_t)snprintf(text + used, room - used, "%s%u%s",
                                 i == 0                       ? " ("
                                 : mq_gpu_size_gb(gpu, i + 1) ? ", "
                                                              : " or ",
                                 mq_gpu_size_gb(gpu, i), mq_gpu_size_gb(gpu, i + 1) ? "" : " GB)");
}

/* ---- finding one ---- */

/* Words that say nothing about which card it is. */
static const char decoration[] =
    "nvidia geforce rtx tesla quadro amd radeon rx instinct intel arc apple graphics gpu gb gib";

/* The next run of letters or of digits, in lower case; false at the end. */
static bool next_word(const char **text, char word[24])
{
    const char *p = *text;
    size_t n = 0;
    while (*p && !isalnum((unsigned char)*p))
        p++;
    const bool digits = isdigit((unsigned char)*p);
    for (; isalnum((unsigned char)*p) && !isdigit((unsigned char)*p) == !digits; p++)
        if (n + 1 < 24)
            word[n++] = (char)tolower((unsigned char)*p);
    word[n] = '\0';
    *text = p;
    return n > 0;
}

static bool has_word(const char *words, const char *word)
{
    char w[24];
    while (next_word(&words, w))
        if (strcmp(w, word) == 0)
            return true;
    return false;
}

enum match { NO_MATCH, NEAR, PARTIAL, FULL };

static bool is_number(const char *word)
{
    return isdigit((unsigned char)word[0]) && word[1];
}

/*
 * FULL: the text has the form's words in order, and otherwise only extra ones, decoration and a
 * size of the card, which it must have where there are several. PARTIAL: some of the form's words
 * and no foreign one. NEAR: its number, or all of its words, and foreign ones.
 */
static enum match match_form(const struct mq_gpu *gpu, const char *form, const char *text,
                             uint32_t *memory_gb)
{
    const char *rest = form;
    char word[24], wanted[24];
    uint32_t size = 0;
    bool more = next_word(&rest, wanted), foreign = false, number = false;
    size_t matched = 0;
    while (next_word(&text, word)) {
        if (more && strcmp(word, wanted) == 0) {
            more = next_word(&rest, wanted);
            matched++;
            number |= is_number(word);
        } else if (!size && has_word(gpu->sizes_gb, word)) {
            size = (uint32_t)strtoul(word, NULL, 10);
        } else if (has_word(form, word)) {
            matched++;
            number |= is_number(word);
        } else if (!has_word(decoration, word) && !has_word(gpu->extra, word)) {
            foreign = true;
        }
    }
    if (!size && !mq_gpu_size_gb(gpu, 1))
        size = mq_gpu_size_gb(gpu, 0);
    *memory_gb = size;
    if (foreign)
        return number || (matched && !more) ? NEAR : NO_MATCH;
    return !matched ? NO_MATCH : more || !size ? PARTIAL : FULL;
}

static enum match match(const struct mq_gpu *gpu, const char *text, uint32_t *memory_gb)
{
    enum match best = NO_MATCH;
    const char *form = gpu->forms;
    while (*form) {
        char one[64];
        const size_t n = strcspn(form, "|");
        snprintf(one, sizeof one, "%.*s", (int)n, form);
        uint32_t size;
        const enum match m = match_form(gpu, one, text, &size);
        if (m > best) {
            best = m;
            *memory_gb = size;
        }
        form += n + (form[n] == '|');
    }
    return best;
}

/* No card's name begins with such a count. */
const char *mq_gpu_split_count(const char *text, uint32_t *cards)
{
    uint32_t n = 0;
    const char *p = text + strspn(text, " ");
    *cards = 1;
    for (; isdigit((unsigned char)*p) && n <= MQ_GPU_MAX_CARDS; p++)
        n = 10 * n + (uint32_t)(*p - '0');
    p += strspn(p, " ");
    if (n < 1 || n > MQ_GPU_MAX_CARDS || (*p != 'x' && *p != 'X' && *p != '*'))
        return text;
    *cards = n;
    p++;
    return p + strspn(p, " ");
}

bool mq_gpu_search(const char *text, struct mq_gpu_search *search)
{
    memset(search, 0, sizeof *search);
    search->name = mq_gpu_split_count(text, &search->cards);
    enum match best = NO_MATCH;
    for (size_t i = 0; i < mq_gpus_count; i++) {
        uint32_t memory_gb = 0;
        const enum match m = match(&mq_gpus[i], search->name, &memory_gb);
        if (m > best) {
            best = m;
            search->candidates_count = 0;
            search->memory_gb = memory_gb;
        }
        if (m == best && m != NO_MATCH && search->candidates_count < MQ_GPU_CANDIDATES)
            search->candidates[search->candidates_count++] = &mq_gpus[i];
    }
    search->is_near = best == NEAR;
    if (best == FULL && search->candidates_count == 1)
        search->gpu = search->candidates[0];
    return search->gpu != NULL;
}
