/* scored.c: reading vocabularies that are lists of [piece, score] or [piece, score, type]. */
#include "scored.h"

#include "error.h"
#include "utf8.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *what_of(enum mq_model_kind kind)
{
    return kind == MQ_MODEL_UNIGRAM ? "model Unigram" : "model SentencePiece";
}

/* One row of the list. */
struct row {
    const char *text;
    size_t size;
    double score;
    uint64_t type;
};

static moeq_status read_row(struct mq_load *load, const cJSON *item, uint32_t id, bool typed,
                            struct row *row)
{
    const cJSON *text = cJSON_IsArray(item) ? item->child : NULL, *score = text ? text->next : NULL;
    const cJSON *type = score ? score->next : NULL;
    row->type = MQ_PIECE_NORMAL;
    if (!score || !cJSON_IsString(text) || !cJSON_IsNumber(score) ||
        !isfinite(score->valuedouble) || (!typed && type) ||
        (typed && (!type || type->next || !mq_json_u64(type, &row->type) ||
                   row->type < MQ_PIECE_NORMAL || row->type > MQ_PIECE_BYTE)))
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "vocabulary: entry %u is not [piece, score%s]", id,
                            typed ? ", type" : "");
    row->text = text->valuestring;
    row->size = strlen(row->text);
    row->score = typed ? (double)(float)score->valuedouble : score->valuedouble;
    if (row->size > MQ_MAX_CONTENT)
        return mq_fail_file(load->err, MOEQ_LIMIT, load->path,
                            "vocabulary: entry %u has %zu bytes, more than %d", id, row->size,
                            MQ_MAX_CONTENT);
    return MOEQ_OK;
}

/* Whether text can become this piece: sentencepiece never makes the others of it. */
static bool is_made(uint64_t type)
{
    return type == MQ_PIECE_NORMAL || type == MQ_PIECE_USER_DEFINED || type == MQ_PIECE_UNUSED;
}

/* Whether the piece has U+2581 behind another character. */
static bool crosses(const char *text, size_t n)
{
    for (size_t i = 3; i + 3 <= n; i++)
        if (memcmp(text + i, MQ_VISIBLE_SPACE, 3) == 0 &&
            memcmp(text + i - 3, MQ_VISIBLE_SPACE, 3) != 0)
            return true;
    /* A character of one or two bytes may stand before it. */
    return (n > 3 && memcmp(text + 1, MQ_VISIBLE_SPACE, 3) == 0) ||
           (n > 4 && memcmp(text + 2, MQ_VISIBLE_SPACE, 3) == 0);
}

static moeq_status enter_row(struct mq_load *load, uint32_t id, const struct row *row,
                             enum mq_model_kind kind)
{
    struct mq_tokenizer *t = load->tokenizer;
    struct mq_scored *s = t->scored;
    struct mq_token *token = &t->tokens[id];
    token->text = mq_arena_strndup(t->arena, row->text, row->size);
    token->size = (uint32_t)row->size;
    const enum mq_strmap_result result =
        token->text ? mq_strmap_add(&t->vocab, token->text, row->size, id) : MQ_STRMAP_NO_MEMORY;
    if (result == MQ_STRMAP_NO_MEMORY)
        return mq_fail_memory(load->err, "reading the vocabulary");
    if (result == MQ_STRMAP_DUPLICATE)
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "vocabulary: '%.200s' is there twice", row->text);
    s->scores[id] = row->score;
    if (s->types)
        s->types[id] = (uint8_t)row->type;
    /* sentencepiece's extremes are of normal pieces; its maximum starts at the least positive. */
    if (row->type == MQ_PIECE_NORMAL) {
        s->min_score = row->score < s->min_score ? row->score : s->min_score;
        s->max_score = row->score > s->max_score ? row->score : s->max_score;
    }
    if (row->type == MQ_PIECE_UNKNOWN && t->unk_id == MQ_NO_ID)
        t->unk_id = (int32_t)id;
    if (!is_made(row->type) || !row->size)
        return MOEQ_OK;
    uint32_t code;
    s->longest = row->size > s->longest ? row->size : s->longest;
    s->can_cut = s->can_cut && !crosses(row->text, row->size);
    s->has_unused |= row->type == MQ_PIECE_UNUSED && mq_utf8_next(row->text, &code) < row->size;
    bool ok = true;
    if (kind != MQ_MODEL_SPM_BPE)
        ok = mq_piece_trie_add(&s->all, row->text, row->size, id);
    if (row->type == MQ_PIECE_USER_DEFINED)
        ok = ok && mq_piece_trie_add(&s->user, row->text, row->size, id);
    return ok ? MOEQ_OK : mq_fail_memory(load->err, "reading the vocabulary");
}

static moeq_status load_rows(struct mq_load *load, const cJSON *vocab, enum mq_model_kind kind)
{
    struct mq_tokenizer *t = load->tokenizer;
    struct mq_scored *s = t->scored;
    const bool typed = kind != MQ_MODEL_UNIGRAM;
    if (!cJSON_IsArray(vocab) || !vocab->child)
        return mq_load_malformed(load, what_of(kind), "'vocab' is missing, empty or no list");
    s->count = (uint32_t)cJSON_GetArraySize(vocab);
    s->scores = mq_arena_alloc(t->arena, s->count, sizeof *s->scores);
    s->types = typed ? mq_arena_alloc(t->arena, s->count, 1) : NULL;
    s->min_score = typed ? FLT_MAX : INFINITY;
    s->max_score = FLT_MIN;
    s->can_cut = typed;
    if (!s->scores || (typed && !s->types) || !mq_strmap_init(&t->vocab, s->count))
        return mq_fail_memory(load->err, "reading the vocabulary");
    uint32_t id = 0;
    for (const cJSON *item = vocab->child; item; item = item->next, id++) {
        struct row row;
        MQ_TRY(read_row(load, item, id, typed, &row));
        MQ_TRY(enter_row(load, id, &row, kind));
    }
    return MOEQ_OK;
}

static moeq_status load_unk_id(struct mq_load *load, const cJSON *model)
{
    struct mq_tokenizer *t = load->tokenizer;
    const cJSON *item = mq_json_get(model, "unk_id");
    uint64_t id;
    if (!item || cJSON_IsNull(item))
        return MOEQ_OK;
    if (!mq_json_u64(item, &id) || id >= t->scored->count)
        return mq_load_malformed(load, "model Unigram", "'unk_id' is not the number of a piece");
    t->unk_id = (int32_t)id;
    return MOEQ_OK;
}

moeq_status mq_scored_load(struct mq_load *load, const cJSON *model, enum mq_model_kind kind)
{
    struct mq_tokenizer *t = load->tokenizer;
    t->unk_id = MQ_NO_ID;
    t->model_kind = kind;
    t->scored = calloc(1, sizeof *t->scored);
    if (!t->scored)
        return mq_fail_memory(load->err, "reading the vocabulary");
    MQ_TRY(load_rows(load, mq_json_get(model, "vocab"), kind));
    MQ_TRY(mq_load_flag(load, model, "byte_fallback", what_of(kind), 0, &t->byte_fallback));
    mq_index_bytes(t);
    if (kind == MQ_MODEL_UNIGRAM)
        return load_unk_id(load, model);
    return t->unk_id != MQ_NO_ID ? MOEQ_OK
                                 : mq_load_malformed(load, what_of(kind), "no unknown piece");
}

void mq_scored_free(struct mq_scored *scored)
{
    if (!scored)
        return;
    mq_piece_trie_free(&scored->all);
    mq_piece_trie_free(&scored->user);
    free(scored);
}
