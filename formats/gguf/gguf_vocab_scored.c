/*
 * gguf_vocab_scored.c: what moeq made of a SentencePiece model (tokenizer.model) as the tokenizers
 * "llama" (BPE) and "t5" (Unigram), with the model's own scores and types.
 *
 * "llama" joins by scores as sentencepiece does, but normalizes no text except for its spaces, and
 * it needs the 256 bytes. "t5" has the character map and removes extra spaces, but knows no bytes.
 * User-defined pieces keep that type: llama.cpp's converter makes normal ones of them, which its
 * tokenizer then builds only where merges lead to them.
 */
#include "gguf_vocab_int.h"

#include "base64.h"
#include "error.h"

#include <string.h>

static bool is_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(mq_json_get(object, key));
}

/* ---- pieces ---- */

static moeq_status fail_entry(struct mq_vocab *v, uint32_t id)
{
    return mq_fail_file(v->err, MOEQ_MALFORMED, v->path,
                        "vocabulary: entry %u is not [piece, score, type], or is there twice", id);
}

static moeq_status load_piece(struct mq_vocab *v, const cJSON *item, uint32_t id)
{
    const cJSON *text = cJSON_IsArray(item) ? item->child : NULL, *score = text ? text->next : NULL;
    uint64_t type;
    if (!score || !cJSON_IsString(text) || !cJSON_IsNumber(score) ||
        !mq_json_u64(score->next, &type) || type < MQ_GGUF_TOKEN_NORMAL ||
        type > MQ_GGUF_TOKEN_BYTE)
        return fail_entry(v, id);
    struct mq_vocab_token *token = &v->tokens[id];
    /* The numbers of the types are the same. */
    *token = (struct mq_vocab_token){text->valuestring, (enum mq_gguf_token_type)type,
                                     (float)score->valuedouble};
    switch (mq_strmap_add(&v->ids, token->text, strlen(token->text), id)) {
    case MQ_STRMAP_NO_MEMORY:
        return mq_fail_memory(v->err, "exporting the vocabulary");
    case MQ_STRMAP_DUPLICATE:
        return fail_entry(v, id);
    case MQ_STRMAP_ADDED:
        break;
    }
    if (type == MQ_GGUF_TOKEN_USER_DEFINED)
        token->text = mq_vocab_with_spaces(v->arena, token->text);
    return token->text ? MOEQ_OK : mq_fail_memory(v->err, "exporting the vocabulary");
}

/* Pieces behind the model's vocabulary are left out, as llama.cpp's converter does. */
moeq_status mq_vocab_load_scored(struct mq_vocab *v)
{
    const cJSON *vocab = mq_json_get(v->model, "vocab");
    if (!cJSON_IsArray(vocab))
        return mq_fail_file(v->err, MOEQ_MALFORMED, v->path, "'vocab' is missing or no list");
    uint32_t id = 0;
    for (const cJSON *item = vocab->child; item && id < v->count; item = item->next)
        MQ_TRY(load_piece(v, item, id++));
    const uint32_t all = (uint32_t)cJSON_GetArraySize(vocab);
    if (all > v->count)
        mq_vocab_warn(v, "it lacks the pieces from %u to %u, for which the model has no embedding",
                      v->count, all - 1);
    return MOEQ_OK;
}

/* ---- what stands around them ---- */

static moeq_status put_charsmap(struct mq_gguf_writer *w, struct mq_vocab *v, const cJSON *text)
{
    struct mq_buffer bytes = {0};
    moeq_status status = MOEQ_OK;
    if (!mq_base64_decode(text->valuestring, strlen(text->valuestring), &bytes)) {
        status = mq_fail_file(v->err, MOEQ_MALFORMED, v->path,
                              "normalizer: 'precompiled_charsmap' is not base64");
    } else if (!mq_buffer_ok(&bytes)) {
        status = mq_fail_memory(v->err, "exporting the vocabulary");
    } else {
        mq_gguf_begin_array(w, MQ_GGUF_KEY_CHARSMAP, MQ_GGUF_U8, bytes.size);
        mq_buffer_append(&w->metadata, bytes.data, bytes.size);
    }
    mq_buffer_free(&bytes);
    return status;
}

static void warn_of_both(struct mq_vocab *v)
{
    const cJSON *n = v->normalizer;
    if (v->space_prefix && is_true(n, "prefix_first"))
        mq_vocab_warn(v, "it also puts a space in front of text behind a special token");
    if (v->space_prefix && is_true(n, "treat_whitespace_as_suffix"))
        mq_vocab_warn(v, "it puts a space in front of a text, not behind");
    if (cJSON_IsFalse(mq_json_get(n, "escape_whitespaces")))
        mq_vocab_warn(v, "it makes U+2581 of spaces, which the model does not");
}

static moeq_status put_llama(struct mq_gguf_writer *w, struct mq_vocab *v, bool has_charsmap)
{
    if (!is_true(v->model, "byte_fallback"))
        return mq_vocab_unsupported(v, "a SentencePiece BPE model", "without byte_fallback");
    if (has_charsmap)
        mq_vocab_warn(v, "it keeps characters that the model replaces (precompiled_charsmap)");
    if (is_true(v->normalizer, "remove_extra_whitespaces"))
        mq_vocab_warn(v, "it keeps repeated spaces and those at the ends of a text");
    mq_gguf_put_string(w, MQ_GGUF_KEY_TOKENIZER, "llama", 5);
    mq_gguf_put_string(w, MQ_GGUF_KEY_PRE, "default", 7);
    mq_vocab_put_tokens(w, v, true);
    return MOEQ_OK;
}

static moeq_status put_t5(struct mq_gguf_writer *w, struct mq_vocab *v, const cJSON *charsmap)
{
    if (is_true(v->model, "byte_fallback"))
        mq_vocab_warn(v, "characters that are no piece become the unknown token, not their bytes");
    v->says_eos = true;
    mq_gguf_put_string(w, MQ_GGUF_KEY_TOKENIZER, "t5", 2);
    mq_gguf_put_string(w, MQ_GGUF_KEY_PRE, "default", 7);
    mq_vocab_put_tokens(w, v, true);
    mq_gguf_put_bool(w, MQ_GGUF_KEY_REMOVE_EXTRA,
                     is_true(v->normalizer, "remove_extra_whitespaces"));
    return charsmap ? put_charsmap(w, v, charsmap) : MOEQ_OK;
}

moeq_status mq_vocab_put_scored(struct mq_gguf_writer *w, struct mq_vocab *v)
{
    const cJSON *charsmap = mq_json_get(v->normalizer, "precompiled_charsmap");
    const cJSON *algorithm = mq_json_get(v->model, "algorithm");
    const bool unigram = cJSON_IsString(algorithm) && strcmp(algorithm->valuestring, "BPE") != 0;
    if (!cJSON_IsString(charsmap) || !*charsmap->valuestring)
        charsmap = NULL;
    v->space_prefix = is_true(v->normalizer, "add_dummy_prefix");
    warn_of_both(v);
    MQ_TRY(unigram ? put_t5(w, v, charsmap) : put_llama(w, v, charsmap != NULL));
    mq_gguf_put_bool(w, MQ_GGUF_KEY_ADD_PREFIX, v->space_prefix);
    return MOEQ_OK;
}
