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
    struct mq_text text;
    double score;
    uint64_t type;
};

/* What the members of the row at `walk` are: a text, then one number or two. */
static moeq_status read_members(struct mq_load *load, const struct mq_json_walk *walk,
                                struct mq_buffer *decoded, struct mq_text *text, double number[2],
                                size_t *count)
{
    struct mq_json_walk item = {.text = walk->text, .n = walk->value_end, .at = walk->value};
    *count = 0;
    if (item.text[item.at] != '[' || !mq_json_walk_item(&item) || item.text[item.value] != '"')
        return MOEQ_OK;
    MQ_TRY(mq_load_string(load, item.text, item.value, item.value_end, decoded, text));
    for (*count = 1; mq_json_walk_item(&item); ++*count) {
        bool is_number = false;
        if (*count < 3)
            MQ_TRY(mq_load_number(load, item.text, item.value, item.value_end, &number[*count - 1],
                                  &is_number));
        if (!is_number) {
            *count = 0;
            return MOEQ_OK;
        }
    }
    return MOEQ_OK;
}

static moeq_status read_row(struct mq_load *load, const struct mq_json_walk *walk, uint32_t id,
                            bool typed, struct mq_buffer *decoded, struct row *row)
{
    double number[2] = {0, MQ_PIECE_NORMAL};
    size_t count;
    MQ_TRY(read_members(load, walk, decoded, &row->text, number, &count));
    if (count != (typed ? 3 : 2) || !isfinite(number[0]) || !mq_json_whole(number[1], &row->type) ||
        row->type < MQ_PIECE_NORMAL || row->type > MQ_PIECE_BYTE)
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "vocabulary: entry %u is not [piece, score%s]", id,
                            typed ? ", type" : "");
    row->score = typed ? (double)(float)number[0] : number[0];
    if (row->text.size > MQ_MAX_CONTENT)
        return mq_fail_file(load->err, MOEQ_LIMIT, load->path,
                            "vocabulary: entry %u has %zu bytes, more than %d", id, row->text.size,
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
    const size_t size = row->text.size;
    const char *text = mq_arena_strndup(t->arena, row->text.data, size);
    token->text = text;
    token->size = (uint32_t)size;
    const enum mq_strmap_result result =
        text ? mq_strmap_add(&t->vocab, text, size, id) : MQ_STRMAP_NO_MEMORY;
    if (result == MQ_STRMAP_NO_MEMORY)
        return mq_fail_memory(load->err, "reading the vocabulary");
    if (result == MQ_STRMAP_DUPLICATE)
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "vocabulary: '%.200s' is there twice", text);
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
    if (!is_made(row->type) || !size)
        return MOEQ_OK;
    uint32_t code;
    s->longest = size > s->longest ? size : s->longest;
    s->can_cut = s->can_cut && !crosses(text, size);
    s->has_unused |= row->type == MQ_PIECE_UNUSED && mq_utf8_next(text, &code) < size;
    bool ok = true;
    if (kind != MQ_MODEL_SPM_BPE)
        ok = mq_piece_trie_add(&s->all, text, size, id);
    if (row->type == MQ_PIECE_USER_DEFINED)
        ok = ok && mq_piece_trie_add(&s->user, text, size, id);
    return ok ? MOEQ_OK : mq_fail_memory(load->err, "reading the vocabulary");
}

static moeq_status load_rows(struct mq_load *load, enum mq_model_kind kind)
{
    struct mq_tokenizer *t = load->tokenizer;
    struct mq_scored *s = t->scored;
    const bool typed = kind != MQ_MODEL_UNIGRAM;
    struct mq_json_walk walk = load->vocab;
    struct mq_buffer decoded = {0};
    moeq_status status = MOEQ_OK;
    if (!load->vocab_count || walk.text[walk.at] != '[')
        return mq_load_malformed(load, what_of(kind), "'vocab' is missing, empty or no list");
    s->count = (uint32_t)load->vocab_count;
    s->scores = mq_arena_alloc(t->arena, s->count, sizeof *s->scores);
    s->types = typed ? mq_arena_alloc(t->arena, s->count, 1) : NULL;
    s->min_score = typed ? FLT_MAX : INFINITY;
    s->max_score = FLT_MIN;
    s->can_cut = typed;
    if (!s->scores || (typed && !s->types) || !mq_strmap_init(&t->vocab, s->count))
        return mq_fail_memory(load->err, "reading the vocabulary");
    for (uint32_t id = 0; status == MOEQ_OK && mq_json_walk_item(&walk); id++) {
        struct row row;
        status = read_row(load, &walk, id, typed, &decoded, &row);
        if (status == MOEQ_OK)
            status = enter_row(load, id, &row, kind);
    }
    mq_buffer_free(&decoded);
    return status;
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
    MQ_TRY(load_rows(load, kind));
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
