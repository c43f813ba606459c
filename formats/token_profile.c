/* token_profile.c: see token_profile.h. */
#include "token_profile.h"

#include "json.h"
#include "text_match.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- counting ---- */

static bool is_token(int32_t id, uint32_t vocab)
{
    return id >= 0 && (uint32_t)id < vocab;
}

/* The sum over the vocabulary of the smaller of a piece's share and the others'. seen: [vocab] zeros, and left so. `inside`: the
 * piece is among those that times[] counts, of `all` tokens. */
static double in_common(const int32_t *piece, const double *times, double all, bool inside,
                        uint32_t vocab, uint32_t *seen)
{
    const double others = inside ? all - MQ_PROFILE_PIECE : all;
    double sum = 0.0;
    for (size_t i = 0; i < MQ_PROFILE_PIECE; i++)
        if (is_token(piece[i], vocab))
            seen[piece[i]]++;
    for (size_t i = 0; i < MQ_PROFILE_PIECE; i++) {
        if (!is_token(piece[i], vocab) || !seen[piece[i]])
            continue;
        const double here = seen[piece[i]], there = times[piece[i]] - (inside ? here : 0.0);
        sum += fmin(here / MQ_PROFILE_PIECE, others > 0.0 ? there / others : 0.0);
        seen[piece[i]] = 0;
    }
    return sum;
}

static double mean_in_common(const int32_t *ids, size_t count, const double *times, double all,
                             bool inside, uint32_t vocab, uint32_t *seen)
{
    const size_t pieces = count / MQ_PROFILE_PIECE;
    double sum = 0.0;
    for (size_t p = 0; p < pieces; p++)
        sum += in_common(ids + p * MQ_PROFILE_PIECE, times, all, inside, vocab, seen);
    return pieces ? sum / (double)pieces : 0.0;
}

/* 63 at most. */
static unsigned class_of(double times)
{
    const double k = times > 0.0 ? 1.5 + 3.0 * log2(times) : 0.0;
    return k < 63.0 ? (unsigned)k : 63;
}

static double times_of(unsigned class)
{
    return class ? exp2((class - 1) / 3.0) : 0.0;
}

moeq_status mq_profile_count(const int32_t *ids, size_t count, uint32_t vocab, double *common,
                             struct mq_buffer *profile, moeq_error *err)
{
    double *times = calloc((size_t)vocab + 1, sizeof *times);
    uint32_t *seen = calloc((size_t)vocab + 1, sizeof *seen);
    *common = 0.0;
    for (size_t i = 0; times && i < count; i++)
        times[is_token(ids[i], vocab) ? (uint32_t)ids[i] : vocab]++;
    if (times && seen && count >= 2 * (size_t)MQ_PROFILE_PIECE)
        *common = mean_in_common(ids, count, times, (double)count, true, vocab, seen);
    for (uint32_t t = 0; times && t < vocab; t++)
        mq_buffer_putc(profile, digits[class_of(times[t])]);
    const bool good = times && seen && mq_buffer_ok(profile);
    free(times);
    free(seen);
    return good ? MOEQ_OK : mq_fail_memory(err, "counting a text's tokens");
}

void mq_profile_put(struct mq_buffer *list, const char *name, uint64_t tokens, double common,
                    const char *profile)
{
    mq_buffer_puts(list, list->size ? ",{\"name\":" : "[{\"name\":");
    mq_buffer_put_json(list, name, strlen(name));
    mq_buffer_printf(list, ",\"tokens\":%llu,\"common\":%.4f,\"profile\":\"%s\"}",
                     (unsigned long long)tokens, common, profile);
}

moeq_status mq_profile_add(struct mq_buffer *list, const char *path, const int32_t *ids,
                           size_t count, uint32_t vocab, moeq_error *err)
{
    const char *name = strcmp(path, "-") == 0 ? "standard input" : mq_base_name(path);
    struct mq_buffer profile = {0};
    double common;
    size_t bad;
    const moeq_status status = mq_profile_count(ids, count, vocab, &common, &profile, err);
    if (status == MOEQ_OK)
        mq_profile_put(list, mq_utf8_valid(name, strlen(name), &bad) ? name : "a text", count,
                       common, profile.data);
    mq_buffer_free(&profile);
    return status;
}

void mq_profile_end(struct mq_buffer *list)
{
    mq_buffer_putc(list, ']');
}

/* ---- comparing ---- */

struct comparison {
    const int32_t *ids;
    size_t count;
    uint32_t vocab;
    double *times;  /* [vocab]: of a text of the list */
    uint32_t *seen; /* [vocab] */
    struct mq_buffer names;
    bool any;       /* a text was long enough */
    double nearest; /* how far beyond the line the nearest one is: the least so far */
    struct mq_profile_distance distance;
};

static bool read_profile(const char *text, uint32_t vocab, double *times, double *all)
{
    if (strlen(text) != vocab)
        return false;
    *all = 0.0;
    for (uint32_t t = 0; t < vocab; t++) {
        const char *digit = memchr(digits, text[t], 64);
        if (!digit)
            return false;
        times[t] = times_of((unsigned)(digit - digits));
        *all += times[t];
    }
    return true;
}

static bool compare_text(struct comparison *c, const cJSON *text)
{
    enum { NAMES = 200 };
    const cJSON *name = mq_json_get(text, "name"), *profile = mq_json_get(text, "profile"),
                *common = mq_json_get(text, "common");
    uint64_t tokens;
    double all;
    if (!cJSON_IsString(name) || !cJSON_IsString(profile) || !cJSON_IsNumber(common) ||
        !mq_json_u64(mq_json_get(text, "tokens"), &tokens) ||
        !read_profile(profile->valuestring, c->vocab, c->times, &all))
        return false;
    mq_make_printable(name->valuestring);
    if (c->names.size < NAMES)
        mq_buffer_printf(&c->names, "%s%.100s", c->names.size ? ", " : "", name->valuestring);
    const double own = common->valuedouble;
    if (tokens < 2 * (uint64_t)MQ_PROFILE_PIECE || c->count < MQ_PROFILE_PIECE || !(own > 0.0))
        return true; /* too short to say */
    const double found = mean_in_common(c->ids, c->count, c->times, all, false, c->vocab, c->seen);
    const double beyond = own - found - (0.1 + 0.1 * sqrt(2048.0 / (double)tokens));
    if (!c->any || beyond < c->nearest) {
        c->nearest = beyond;
        c->distance = (struct mq_profile_distance){found, own, beyond > 0.0};
    }
    c->any = true;
    return true;
}

static moeq_status compare_list(struct comparison *c, const char *list, const char *path,
                                moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 3, .values = 1 << 16};
    const size_t size = strlen(list);
    cJSON *tree = NULL;
    if (size > MQ_PROFILE_BYTES_MAX)
        return mq_fail_file(err, MOEQ_LIMIT, path, "metadata: %s has %zu bytes, more than %d",
                            MQ_META_CALIBRATED_ON, size, (int)MQ_PROFILE_BYTES_MAX);
    MQ_TRY(mq_json_parse(list, size, &limits, path, 0, &tree, err));
    bool good = cJSON_IsArray(tree);
    for (const cJSON *text = good ? tree->child : NULL; text && good; text = text->next)
        good = compare_text(c, text);
    cJSON_Delete(tree);
    if (!good)
        return mq_fail_file(
            err, MOEQ_MALFORMED, path,
            "metadata: %s is no list of texts with name, tokens, common and profile, "
            "of a vocabulary of %u",
            MQ_META_CALIBRATED_ON, (unsigned)c->vocab);
    return mq_buffer_ok(&c->names) ? MOEQ_OK : mq_fail_memory(err, "comparing texts");
}

moeq_status mq_profile_compare(const char *list, const char *path, const int32_t *ids, size_t count,
                               uint32_t vocab, struct mq_profile_distance *distance,
                               struct mq_buffer *note, moeq_error *err)
{
    struct comparison c = {.ids = ids,
                           .count = count,
                           .vocab = vocab,
                           .times = calloc((size_t)vocab + 1, sizeof *c.times),
                           .seen = calloc((size_t)vocab + 1, sizeof *c.seen)};
    moeq_status status = c.times && c.seen ? compare_list(&c, list, path, err)
                                           : mq_fail_memory(err, "comparing texts");
    *distance = status == MOEQ_OK ? c.distance : (struct mq_profile_distance){0};
    if (distance->far)
        mq_buffer_printf(
            note,
            "calibrated on %s: of its kinds of tokens this text's windows have %.0f %% in "
            "common with it, its own have %.0f %%: the figures are of another domain than "
            "it was calibrated for",
            c.names.data, 100 * distance->common, 100 * distance->own);
    if (distance->far && !mq_buffer_ok(note))
        status = mq_fail_memory(err, "comparing texts");
    free(c.times);
    free(c.seen);
    mq_buffer_free(&c.names);
    return status;
}
