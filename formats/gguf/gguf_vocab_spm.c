/*
 * gguf_vocab_spm.c: byte-fallback BPE as the tokenizer "llama", sentencepiece's.
 *
 * tokenizer.json has merges with ranks: the pair of the lowest rank is joined first, of equal ones
 * the leftmost. llama.cpp has pieces with scores: any two neighbours whose texts together are a
 * piece may be joined, that of the highest score first, of equal ones the leftmost. So the merges
 * of one piece have one score, and what must hold for the ids to be the same is
 *   - the merges are all ways to cut a piece in two pieces,
 *   - the merges of one piece have neighbouring ranks.
 * Tokenizers converted from sentencepiece models keep both; others get a warning. Pieces that
 * repeat one character are excused from the second: they grow from the left in either order.
 */
#include "gguf_vocab_int.h"

#include "error.h"
#include "utf8.h"

#include <math.h>
#include <string.h>

/* ---- what stands around the model ---- */

struct pipeline {
    bool prepends;     /* normalizer Prepend: a space before each segment */
    bool metaspace;    /* pre-tokenizer Metaspace ... */
    bool first, never; /* ... with this prepend_scheme; else always */
    bool escapes;      /* U+2581 stands for spaces */
    bool splits;       /* words are cut before U+2581 */
};

static bool text_is(const cJSON *object, const char *key, const char *text)
{
    const cJSON *item = mq_json_get(object, key);
    return cJSON_IsString(item) && strcmp(item->valuestring, text) == 0;
}

static moeq_status read_normalizer(struct mq_vocab *v, const cJSON *json, const char *type,
                                   void *user)
{
    struct pipeline *p = user;
    if (strcmp(type, "Prepend") == 0 && text_is(json, "prepend", MQ_VISIBLE_SPACE))
        p->prepends = true;
    else if (strcmp(type, "Replace") == 0 && text_is(mq_json_get(json, "pattern"), "String", " ") &&
             text_is(json, "content", MQ_VISIBLE_SPACE))
        p->escapes = true;
    else if (!mq_vocab_is_unicode_form(v, type))
        return mq_vocab_unsupported(v, "normalizer", type);
    return MOEQ_OK;
}

static moeq_status read_pre_tokenizer(struct mq_vocab *v, const cJSON *json, const char *type,
                                      void *user)
{
    struct pipeline *p = user;
    /* A Split on the space finds none once they are replaced. */
    if (strcmp(type, "Split") == 0 && p->escapes &&
        text_is(mq_json_get(json, "pattern"), "String", " "))
        return MOEQ_OK;
    if (strcmp(type, "Metaspace") != 0 || !text_is(json, "replacement", MQ_VISIBLE_SPACE))
        return mq_vocab_unsupported(v, "pre-tokenizer", type);
    p->metaspace = p->escapes = true;
    p->first = text_is(json, "prepend_scheme", "first");
    p->never = text_is(json, "prepend_scheme", "never") ||
               cJSON_IsFalse(mq_json_get(json, "add_prefix_space"));
    p->splits = !cJSON_IsFalse(mq_json_get(json, "split"));
    return MOEQ_OK;
}

/* llama.cpp's add_space_prefix puts a space before a text and behind each special or user-defined
 * token in it, whatever comes next. */
static moeq_status read_pipeline(struct mq_vocab *v, struct pipeline *p)
{
    MQ_TRY(mq_vocab_each(v, v->normalizer, "normalizers", "normalizer", p, read_normalizer));
    MQ_TRY(mq_vocab_each(v, v->pre_tokenizer, "pretokenizers", "pre-tokenizer", p,
                         read_pre_tokenizer));
    if (!p->escapes)
        return mq_vocab_unsupported(v, "spaces", "unchanged");
    v->space_prefix = p->prepends || (p->metaspace && !p->never);
    if (v->space_prefix && !p->prepends)
        mq_vocab_warn(v, "it also puts a space in front of text that begins with one%s",
                      p->first ? " and of text behind a special token" : "");
    for (const cJSON *t = p->prepends && v->added ? v->added->child : NULL; t; t = t->next) {
        if (!cJSON_IsTrue(mq_json_get(t, "normalized")))
            continue;
        mq_vocab_warn(v, "it finds added tokens anywhere, not only behind a space");
        break;
    }
    if (cJSON_IsTrue(mq_json_get(v->model, "ignore_merges")))
        mq_vocab_warn(v, "it builds pieces by merges only (ignore_merges)");
    return MOEQ_OK;
}

/* ---- pieces ---- */

/* Marks <0x00> to <0xFF> and the unknown token. */
static moeq_status mark_pieces(struct mq_vocab *v)
{
    static const char hex[] = "0123456789ABCDEF";
    uint32_t id;
    for (unsigned byte = 0; byte < 256; byte++) {
        const char piece[] = {'<', '0', 'x', hex[byte >> 4], hex[byte & 15], '>', 0};
        if (!mq_strmap_get(&v->ids, piece, sizeof piece - 1, &id))
            return mq_fail_file(v->err, MOEQ_UNSUPPORTED, v->path,
                                "the piece %s is missing, which a GGUF file of this kind needs",
                                piece);
        v->tokens[id].type = MQ_GGUF_TOKEN_BYTE;
        v->tokens[id].score = 0;
    }
    const cJSON *unk = mq_json_get(v->model, "unk_token");
    if (cJSON_IsString(unk) &&
        mq_strmap_get(&v->ids, unk->valuestring, strlen(unk->valuestring), &id)) {
        v->tokens[id].type = MQ_GGUF_TOKEN_UNKNOWN;
        v->tokens[id].score = 0;
    }
    return MOEQ_OK;
}

/* One merge as ids. */
struct merge {
    uint32_t joined;
    bool crossing; /* U+2581 is behind something, if only another one */
};

static moeq_status read_merge(struct mq_vocab *v, const cJSON *item, struct mq_buffer *scratch,
                              struct merge *m)
{
    struct mq_vocab_text left, right;
    uint32_t unused;
    MQ_TRY(mq_vocab_merge_halves(v, item, &left, &right));
    mq_buffer_clear(scratch);
    mq_buffer_append(scratch, left.data, left.size);
    mq_buffer_append(scratch, right.data, right.size);
    if (!mq_buffer_ok(scratch))
        return mq_fail_memory(v->err, "exporting the vocabulary");
    if (!mq_strmap_get(&v->ids, left.data, left.size, &unused) ||
        !mq_strmap_get(&v->ids, right.data, right.size, &unused) ||
        !mq_strmap_get(&v->ids, scratch->data, scratch->size, &m->joined))
        return mq_fail_file(v->err, MOEQ_MALFORMED, v->path,
                            "a merge to '%.200s', of which a piece is not in the vocabulary",
                            scratch->data);
    m->crossing = left.size && right.size >= 3 && memcmp(right.data, MQ_VISIBLE_SPACE, 3) == 0;
    return MOEQ_OK;
}

static bool repeats_one_character(const char *text)
{
    const size_t n = mq_utf8_size(text);
    for (const char *at = text; *at; at += n)
        if (strncmp(at, text, n) != 0)
            return false;
    return true;
}

static bool is_part(const struct mq_vocab *v, const char *text, size_t n)
{
    uint32_t unused;
    return (n && mq_utf8_size(text) == n) || mq_strmap_get(&v->ids, text, n, &unused);
}

/* In how many places llama.cpp may join two symbols to this piece: those are characters or pieces
 * before and behind. */
static uint32_t count_cuts(const struct mq_vocab *v, const char *piece)
{
    const size_t n = strlen(piece);
    uint32_t cuts = 0;
    for (size_t i = mq_utf8_size(piece); i < n; i += mq_utf8_size(piece + i))
        cuts += is_part(v, piece, i) && is_part(v, piece + i, n - i);
    return cuts;
}

/*
 * Scores in the order of each piece's first merge. sentencepiece's are -(index among the normal
 * pieces); where the order of ids is the order of merges, as in all pieces of most tokenizers, they
 * come out again. A piece that is out of order comes directly behind the one merged before it.
 * Published tokenizers have far less than the 2^24 pieces up to which f32 holds such numbers.
 */
static moeq_status rank_pieces(struct mq_vocab *v, const struct pipeline *p, uint32_t *merges_of)
{
    uint32_t normal = 0, last = UINT32_MAX;
    for (uint32_t id = 0; id < v->count; id++)
        if (v->tokens[id].type == MQ_GGUF_TOKEN_NORMAL)
            v->tokens[id].score = -(float)normal++;
    const cJSON *item;
    MQ_TRY(mq_vocab_first_merge(v, &item));
    struct mq_buffer scratch = {0};
    moeq_status status = MOEQ_OK;
    float previous = INFINITY;
    const char *scattered = NULL, *crossing = NULL;
    for (; item; item = item->next) {
        struct merge m;
        MQ_TRY_OUT(read_merge(v, item, &scratch, &m));
        struct mq_vocab_token *token = &v->tokens[m.joined];
        if (!merges_of[m.joined]++ && token->type == MQ_GGUF_TOKEN_NORMAL) {
            if (token->score >= previous)
                token->score = previous - 1;
            previous = token->score;
        } else if (m.joined != last && !repeats_one_character(token->text)) {
            scattered = token->text;
        }
        crossing = m.crossing ? token->text : crossing;
        last = m.joined;
    }
    if (scattered)
        mq_vocab_warn(v, "it gives all merges of a piece one rank, and those of '%.100s' are apart",
                      scattered);
    if (p->splits && crossing)
        mq_vocab_warn(v, "it also builds pieces with a space inside, such as '%.100s'", crossing);
out:
    mq_buffer_free(&scratch);
    return status;
}

/* Warns of pieces that llama.cpp would build where no merge does. */
static void find_missing_merges(struct mq_vocab *v, const uint32_t *merges_of)
{
    uint32_t pieces = 0;
    const char *example = NULL;
    for (uint32_t id = 0; id < v->count; id++) {
        const struct mq_vocab_token *token = &v->tokens[id];
        if (token->type != MQ_GGUF_TOKEN_NORMAL || !*token->text ||
            count_cuts(v, token->text) <= merges_of[id])
            continue;
        pieces++;
        if (!example)
            example = token->text;
    }
    if (pieces)
        mq_vocab_warn(v,
                      "it joins any two pieces that make a piece, which no merge does for %u of "
                      "them, such as '%.100s'",
                      pieces, example);
}

moeq_status mq_vocab_put_spm(struct mq_gguf_writer *w, struct mq_vocab *v)
{
    struct pipeline p = {0};
    MQ_TRY(read_pipeline(v, &p));
    MQ_TRY(mark_pieces(v));
    uint32_t *merges_of = mq_arena_alloc(v->arena, v->count, sizeof *merges_of);
    if (!merges_of)
        return mq_fail_memory(v->err, "exporting the vocabulary");
    MQ_TRY(rank_pieces(v, &p, merges_of));
    find_missing_merges(v, merges_of);
    mq_gguf_put_string(w, MQ_GGUF_KEY_TOKENIZER, "llama", 5);
    mq_gguf_put_string(w, MQ_GGUF_KEY_PRE, "default", 7);
    mq_vocab_put_tokens(w, v, true);
    return MOEQ_OK;
}
