/* gpus.c: the table of graphics cards, and finding one in it. To add a card: a row. */
#include "gpus.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define GEFORCE "NVIDIA GeForce specifications"
#define SHEET "NVIDIA data sheet"
#define APPLE "Apple technical specifications"

/* Memory and bandwidth as the makers publish them, the largest configuration where there are
 * several. */
const struct mq_gpu mq_gpus[] = {
    {"GeForce RTX 3060", "3060", "", 12, 360, MQ_GPU_DEDICATED, GEFORCE},
    {"GeForce RTX 3090", "3090", "", 24, 936, MQ_GPU_DEDICATED, GEFORCE},
    {"GeForce RTX 4060 Ti 16GB", "4060 ti 16", "", 16, 288, MQ_GPU_DEDICATED, GEFORCE},
    {"GeForce RTX 4070 Ti SUPER", "4070 ti super|4070 tis|4070 ti s", "", 16, 672, MQ_GPU_DEDICATED,
     GEFORCE},
    {"GeForce RTX 4080 SUPER", "4080 super|4080 s", "", 16, 736, MQ_GPU_DEDICATED, GEFORCE},
    {"GeForce RTX 4090", "4090", "", 24, 1008, MQ_GPU_DEDICATED, GEFORCE},
    {"GeForce RTX 5070 Ti", "5070 ti", "", 16, 896, MQ_GPU_DEDICATED, GEFORCE},
    {"GeForce RTX 5080", "5080", "", 16, 960, MQ_GPU_DEDICATED, GEFORCE},
    {"GeForce RTX 5090", "5090", "", 32, 1792, MQ_GPU_DEDICATED, GEFORCE},
    {"RTX A4000", "a 4000", "", 16, 448, MQ_GPU_DEDICATED, SHEET},
    {"RTX A6000", "a 6000", "", 48, 768, MQ_GPU_DEDICATED, SHEET},
    {"RTX 6000 Ada", "6000 ada", "generation", 48, 960, MQ_GPU_DEDICATED, SHEET},
    {"RTX PRO 6000", "pro 6000", "blackwell workstation server edition", 96, 1792, MQ_GPU_DEDICATED,
     SHEET},
    {"T4", "t 4", "", 16, 320, MQ_GPU_INLINE_ECC, SHEET},
    {"L4", "l 4", "", 24, 300, MQ_GPU_INLINE_ECC, SHEET},
    {"A10", "a 10", "", 24, 600, MQ_GPU_INLINE_ECC, SHEET},
    {"A40", "a 40", "", 48, 696, MQ_GPU_INLINE_ECC, SHEET},
    {"L40S", "l 40 s", "", 48, 864, MQ_GPU_INLINE_ECC, SHEET},
    {"A100 40GB", "a 100 40", "sxm 4 pcie", 40, 1555, MQ_GPU_DEDICATED, SHEET},
    {"A100 80GB", "a 100 80", "sxm 4 pcie", 80, 2039, MQ_GPU_DEDICATED, SHEET},
    {"H100 PCIe", "h 100 pcie", "", 80, 2000, MQ_GPU_DEDICATED, SHEET},
    {"H100 SXM", "h 100 sxm|h 100 hbm 3", "5", 80, 3350, MQ_GPU_DEDICATED, SHEET},
    {"H200", "h 200", "sxm", 141, 4800, MQ_GPU_DEDICATED, SHEET},
    {"B200", "b 200", "sxm", 180, 8000, MQ_GPU_DEDICATED, SHEET},
    {"Instinct MI210", "mi 210", "", 64, 1638, MQ_GPU_DEDICATED, "AMD data sheet"},
    {"Instinct MI300X", "mi 300 x", "", 192, 5300, MQ_GPU_DEDICATED, "AMD data sheet"},
    {"Radeon RX 7900 XTX", "7900 xtx", "", 24, 960, MQ_GPU_DEDICATED, "AMD specifications"},
    {"Arc B580", "b 580", "", 12, 456, MQ_GPU_DEDICATED, "Intel specifications"},
    {"Apple M4 Pro", "m 4 pro", "", 64, 273, MQ_GPU_UNIFIED, APPLE},
    {"Apple M4 Max", "m 4 max", "", 128, 546, MQ_GPU_UNIFIED, APPLE},
    {"Apple M3 Ultra", "m 3 ultra", "", 512, 819, MQ_GPU_UNIFIED, APPLE},
    {"Apple M2 Ultra", "m 2 ultra", "", 192, 800, MQ_GPU_UNIFIED, APPLE},
    {"Jetson AGX Orin 64GB", "orin", "jetson agx", 64, 205, MQ_GPU_UNIFIED, SHEET},
    {"GB10 (DGX Spark)", "gb 10|dgx spark|spark", "dgx spark", 128, 273, MQ_GPU_UNIFIED, SHEET},
    {"Strix Halo", "strix halo|ai max 395", "ryzen amd", 128, 256, MQ_GPU_UNIFIED,
     "AMD specifications"},
};
const size_t mq_gpus_count = sizeof mq_gpus / sizeof *mq_gpus;

/*
 * Shares of the label, in 1/10000:
 *  - dedicated: cards sold as 24 GB report 23.5 to 24.0 GiB to programs, 98 % at the low end;
 *  - ECC in line: of every 16 bytes one holds check bits, which leaves 15/16 (an L4 reports
 *    23,034 MiB and an L40S 46,068 MiB);
 *  - unified: what macOS lets a graphics program keep resident by default above 36 GB; the others
 *    of this kind need about as much for the system. The table has the largest machine of the name.
 */
static const struct {
    uint32_t share;
    const char *rule;
} memory_rules[MQ_GPU_MEMORY_COUNT] = {
    [MQ_GPU_DEDICATED] = {9800, "98 % of the label is usable"},
    [MQ_GPU_INLINE_ECC] = {9375, "15/16 of the label is usable, the rest is for ECC"},
    [MQ_GPU_UNIFIED] = {7500, "75 % of the unified memory is usable"},
};

uint64_t mq_gpu_usable_bytes(const struct mq_gpu *gpu)
{
    return ((uint64_t)gpu->memory_gb << 30) * memory_rules[gpu->memory].share / 10000;
}

const char *mq_gpu_memory_rule(enum mq_gpu_memory memory)
{
    return memory_rules[memory].rule;
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
 * FULL: the text has the form's words in order, and otherwise only extra ones, decoration and the
 * memory. PARTIAL: some of the form's words and no foreign one. NEAR: its number and foreign words.
 */
static enum match match_form(const struct mq_gpu *gpu, const char *form, const char *text)
{
    const char *rest = form;
    char word[24], wanted[24], memory[16];
    snprintf(memory, sizeof memory, "%u", gpu->memory_gb);
    bool more = next_word(&rest, wanted), foreign = false, number = false;
    size_t matched = 0;
    while (next_word(&text, word)) {
        if (more && strcmp(word, wanted) == 0) {
            more = next_word(&rest, wanted);
            matched++;
            number |= is_number(word);
        } else if (has_word(form, word)) {
            matched++;
            number |= is_number(word);
        } else if (!has_word(decoration, word) && !has_word(gpu->extra, word) &&
                   strcmp(word, memory) != 0) {
            foreign = true;
        }
    }
    if (foreign)
        return number ? NEAR : NO_MATCH;
    return !matched ? NO_MATCH : more ? PARTIAL : FULL;
}

static enum match match(const struct mq_gpu *gpu, const char *text)
{
    enum match best = NO_MATCH;
    const char *form = gpu->forms;
    while (*form) {
        char one[64];
        const size_t n = strcspn(form, "|");
        snprintf(one, sizeof one, "%.*s", (int)n, form);
        const enum match m = match_form(gpu, one, text);
        best = m > best ? m : best;
        form += n + (form[n] == '|');
    }
    return best;
}

/* "2x3090", "2 x RTX 3090", "4*L4". No card's name begins with such a count. */
static const char *split_count(const char *text, uint32_t *cards)
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
    search->name = split_count(text, &search->cards);
    enum match best = NO_MATCH;
    for (size_t i = 0; i < mq_gpus_count; i++) {
        const enum match m = match(&mq_gpus[i], search->name);
        if (m > best) {
            best = m;
            search->candidates_count = 0;
        }
        if (m == best && m != NO_MATCH && search->candidates_count < MQ_GPU_CANDIDATES)
            search->candidates[search->candidates_count++] = &mq_gpus[i];
    }
    search->is_near = best == NEAR;
    if (best == FULL && search->candidates_count == 1)
        search->gpu = search->candidates[0];
    return search->gpu != NULL;
}
