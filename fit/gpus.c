/* gpus.c: what a card's memory holds, and finding a card in the table (gpu_table.c). */
#include "gpus.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

enum { MAX_ROWS = 512 }; /* of the table */

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
                             uint32_t *memory_gb, bool *has_size)
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
    *has_size = size > 0;
    if (!size && !mq_gpu_size_gb(gpu, 1))
        size = mq_gpu_size_gb(gpu, 0);
    *memory_gb = size;
    if (foreign)
        return number || (matched && !more) ? NEAR : NO_MATCH;
    return !matched ? NO_MATCH : more || !size ? PARTIAL : FULL;
}

static enum match match(const struct mq_gpu *gpu, const char *text, uint32_t *memory_gb,
                        bool *has_size)
{
    enum match best = NO_MATCH;
    const char *form = gpu->forms;
    while (*form) {
        char one[64];
        const size_t n = strcspn(form, "|");
        snprintf(one, sizeof one, "%.*s", (int)n, form);
        uint32_t size;
        bool sized;
        const enum match m = match_form(gpu, one, text, &size, &sized);
        if (m > best) {
            best = m;
            *memory_gb = size;
            *has_size = sized;
        }
        form += n + (form[n] == '|');
    }
    return best;
}

/* No card's name begins with such a count: "2x3090", "dual 3090". */
const char *mq_gpu_split_count(const char *text, uint32_t *cards)
{
    static const struct {
        const char *word;
        uint32_t cards;
    } words[] = {{"dual", 2},  {"twin", 2}, {"two", 2}, {"triple", 3},
                 {"three", 3}, {"quad", 4}, {"four", 4}};
    uint32_t n = 0;
    const char *p = text + strspn(text, " ");
    *cards = 1;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t size = strlen(words[i].word);
        if (strncasecmp(p, words[i].word, size) == 0 && (p[size] == ' ' || p[size] == '-')) {
            *cards = words[i].cards;
            return p + size + 1;
        }
    }
    for (; isdigit((unsigned char)*p) && n <= MQ_GPU_MAX_CARDS; p++)
        n = 10 * n + (uint32_t)(*p - '0');
    p += strspn(p, " ");
    if (n < 1 || n > MQ_GPU_MAX_CARDS || (*p != 'x' && *p != 'X' && *p != '*'))
        return text;
    *cards = n;
    p++;
    return p + strspn(p, " ");
}

/* Where a count ends the text: the 'x' of "3090x2", "3090 x2" and "3090 x 2", but not of "7900 xtx"
 * or "rtx 2060"; NULL if there is none. */
static const char *count_behind(const char *text, uint32_t *cards)
{
    const char *end = text + strlen(text);
    while (end > text && end[-1] == ' ')
        end--;
    const char *p = end;
    while (p > text && isdigit((unsigned char)p[-1]))
        p--;
    const bool digits = p < end && end - p <= 2;
    *cards = digits ? (uint32_t)strtoul(p, NULL, 10) : 0;
    const char *x = p;
    while (x > text && x[-1] == ' ')
        x--;
    if (*cards < 1 || *cards > MQ_GPU_MAX_CARDS || x - text < 2 || !strchr("xX*", x[-1]))
        return NULL;
    const char before = x[-2];
    const bool apart = before == ' ' || (isdigit((unsigned char)before) && x == p);
    return apart ? x - 1 : NULL;
}

/* "Ryzen AI Max+" has a plus of its own. */
static bool is_joint(const char *text, const char *at)
{
    return *at == ',' || (*at == '+' && !(at - text >= 3 && tolower((unsigned char)at[-1]) == 'x' &&
                                          tolower((unsigned char)at[-2]) == 'a' &&
                                          tolower((unsigned char)at[-3]) == 'm'));
}

/* The sign of multiplication (U+00D7, in UTF-8) as the letter that people type for it. */
static void plain_signs(char *text)
{
    for (char *at; (at = strstr(text, "\xc3\x97")) != NULL;) {
        *at = 'x';
        memmove(at + 1, at + 2, strlen(at + 2) + 1);
    }
}

bool mq_gpu_list(const char *text, char *list, size_t room)
{
    size_t used = 0;
    for (const char *p = text;;) {
        char item[128];
        const char *end = p;
        uint32_t cards;
        while (*end && !is_joint(text, end))
            end++;
        if ((size_t)(end - p) >= sizeof item)
            return false;
        snprintf(item, sizeof item, "%.*s", (int)(end - p), p);
        plain_signs(item);
        char *x = (char *)count_behind(item, &cards);
        for (; x && x > item && x[-1] == ' '; x--)
            ;
        if (x)
            *x = '\0';
        const char *name = item + strspn(item, " ");
        const int n = x ? snprintf(list + used, room - used, "%ux%s", cards, name)
                        : snprintf(list + used, room - used, "%s", item);
        if (n < 0 || (size_t)n + 1 >= room - used)
            return false;
        used += (size_t)n;
        if (!*end)
            return true;
        list[used++] = ',';
        list[used] = '\0';
        p = end + 1;
    }
}

/* The words of a name without those of a machine around its chip: "macbook pro m1 max" -> "m 1
 * max". Words are letters or digits, so that nothing else changes. */
static void without_machine(const char *text, char *words, size_t room)
{
    static const char machines[] = "mac macbook imac air mini studio";
    char word[24];
    bool mac = false;
    size_t used = 0;
    words[0] = '\0';
    while (next_word(&text, word) && used < room) {
        const bool drop = has_word(machines, word) || (mac && strcmp(word, "pro") == 0);
        mac = strcmp(word, "mac") == 0 || strcmp(word, "macbook") == 0;
        if (!drop)
            used += (size_t)snprintf(words + used, room - used, "%s%s", used ? " " : "", word);
    }
}

bool mq_gpu_search(const char *text, struct mq_gpu_search *search)
{
    char words[256];
    memset(search, 0, sizeof *search);
    search->name = mq_gpu_split_count(text, &search->cards);
    without_machine(search->name, words, sizeof words);
    enum match best = NO_MATCH, of_row[MAX_ROWS];
    for (size_t i = 0; i < mq_gpus_count && i < MAX_ROWS; i++) {
        uint32_t memory_gb = 0;
        bool has_size = false;
        const enum match m = of_row[i] = match(&mq_gpus[i], words, &memory_gb, &has_size);
        if (m > best) {
            best = m;
            search->candidates_count = 0;
            search->memory_gb = memory_gb;
            search->has_size = has_size;
        }
        if (m == best && m != NO_MATCH && search->candidates_count < MQ_GPU_CANDIDATES)
            search->candidates[search->candidates_count++] = &mq_gpus[i];
    }
    /* A name of several rows, of which the one with a single size needs none: still not said. */
    const struct mq_gpu *only =
        best == FULL && search->candidates_count == 1 ? search->candidates[0] : NULL;
    for (size_t i = 0; only && !search->has_size && i < mq_gpus_count && i < MAX_ROWS; i++)
        if (of_row[i] == PARTIAL && strcmp(mq_gpus[i].forms, only->forms) == 0 &&
            search->candidates_count < MQ_GPU_CANDIDATES)
            search->candidates[search->candidates_count++] = &mq_gpus[i];
    search->is_near = best == NEAR;
    if (best == FULL && search->candidates_count == 1)
        search->gpu = search->candidates[0];
    return search->gpu != NULL;
}
