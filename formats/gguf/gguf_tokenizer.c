/*
 * gguf_tokenizer.c: tokenizer.ggml.* -> the text of a tokenizer.json that gives the same ids.
 *
 * Three kinds:
 *   gpt2   byte-level BPE: pieces and merges are in the file; where words are cut is said by the
 *          name of a pattern (gguf_pre.h)
 *   llama  a sentencepiece model: pieces with scores, no merges. Those are regenerated as
 *          Transformers does when it converts such a model: every way to divide a piece into two
 *          pieces is a merge, those of the highest score first (gguf_merges.c). Where scores are
 *          equal, the pair that stands first in the text goes first, which no merges say: such a
 *          file becomes a model of pieces with scores
 *   t5     a Unigram model of sentencepiece: pieces with scores, and the normalizer's flags and
 *          character map
 *
 * The types of tokens:
 *   CONTROL, USER_DEFINED, UNKNOWN  added tokens, found in the text before the model sees it
 *   BYTE                            <0x0A>, for characters without a piece
 *   UNUSED, or undefined            fills a vocabulary up; a piece all the same
 *
 * Files have oddities that llama.cpp lives with, and so does this (source: llama-vocab.cpp):
 *   - an id of a special token that is none (-1, written as 4294967295) stands for the default one
 *   - of two tokens with one text the last counts
 *   - texts with U+0000 or outside of UTF-8 are found in no other text
 * Whatever cannot be read makes a problem of the tokenizer, not of the file.
 */
#include "gguf_tokenizer_int.h"

#include "base64.h"
#include "error.h"
#include "gguf_pre.h"
#include "json.h"
#include "open_options.h"
#include "tokenizer.h"
#include "template_json.h"
#include "utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEY_HUGGINGFACE "tokenizer.huggingface.json"
#define NO_TEXT "\xef\xbf\xbd" /* U+FFFD, of tokens that are in no vocabulary */

enum {
    MAX_TOKENS = 1 << 22, /* ten times the largest vocabulary */
    MAX_HUGGINGFACE_BYTES = 256 << 20,
    MAX_CHARSMAP_BYTES = 16 << 20, /* NFKC's has 240 kB */
};

/* ---- reading ---- */

/* The array of one number for each token; NULL if it is absent. */
static moeq_status column(const struct mq_gguf_vocab *v, const char *name,
                          const struct mq_gguf_key **key, moeq_error *err)
{
    double unused;
    *key = mq_gguf_find(v->gguf, name);
    if (!*key)
        return MOEQ_OK;
    if ((*key)->type != MQ_GGUF_ARRAY || (*key)->count != v->count ||
        (v->count && !mq_gguf_number(v->gguf, *key, 0, &unused)))
        return mq_gguf_fail_key(v->gguf, *key, MOEQ_MALFORMED, err,
                                "expected an array of %u numbers, one a token", v->count);
    return MOEQ_OK;
}

static moeq_status read_pieces(struct mq_gguf_vocab *v, moeq_error *err)
{
    const struct mq_gguf *g = v->gguf;
    const struct mq_gguf_key *tokens = mq_gguf_find(g, MQ_GGUF_KEY_TOKENS), *types;
    if (!tokens)
        return mq_fail_file(err, MOEQ_MALFORMED, g->file.path,
                            "key '" MQ_GGUF_KEY_TOKENS "' is missing");
    if (tokens->type != MQ_GGUF_ARRAY || tokens->element != MQ_GGUF_STRING || !tokens->count ||
        tokens->count > MAX_TOKENS)
        return mq_gguf_fail_key(g, tokens, MOEQ_MALFORMED, err,
                                "expected an array of 1 to %d strings", MAX_TOKENS);
    v->count = (uint32_t)tokens->count;
    MQ_TRY(column(v, MQ_GGUF_KEY_TOKEN_TYPES, &types, err));
    MQ_TRY(column(v, MQ_GGUF_KEY_SCORES, &v->scores, err));
    v->pieces = calloc(v->count, sizeof *v->pieces);
    if (!v->pieces)
        return mq_fail_memory(err, "reading the tokenizer");
    struct mq_gguf_strings s = mq_gguf_strings(g, tokens);
    for (uint32_t i = 0; mq_gguf_next(&s); i++) {
        uint64_t type = MQ_GGUF_TOKEN_NORMAL;
        if (types && (!mq_gguf_whole(g, types, i, &type) || type > MQ_GGUF_TOKEN_BYTE))
            return mq_gguf_fail_key(g, types, MOEQ_MALFORMED, err,
                                    "token %u: expected a type from 0 to %d", i,
                                    MQ_GGUF_TOKEN_BYTE);
        if (!type) /* undefined: found in text like any other */
            type = MQ_GGUF_TOKEN_NORMAL;
        v->pieces[i] = (struct mq_gguf_piece){
            .text = s.text, .size = (uint32_t)s.size, .type = (enum mq_gguf_token_type)type};
        if (s.size > UINT32_MAX || (s.size && memchr(s.text, '\0', s.size)) ||
            !mq_utf8_valid(s.text, s.size, NULL)) {
            v->pieces[i] = (struct mq_gguf_piece){NO_TEXT, 3, MQ_GGUF_TOKEN_UNUSED, true};
            v->unreadable++;
        }
    }
    return MOEQ_OK;
}

/* Of tokens with one text, all but the last are left out. Some texts say what a token is. */
static moeq_status settle_texts(struct mq_gguf_vocab *v, moeq_error *err)
{
    struct mq_strmap texts;
    moeq_status status = MOEQ_OK;
    if (!mq_strmap_init(&texts, v->count))
        return mq_fail_memory(err, "reading the tokenizer");
    for (uint32_t i = v->count; i-- > 0 && status == MOEQ_OK;) {
        struct mq_gguf_piece *p = &v->pieces[i];
        if (p->left_out)
            continue;
        const enum mq_strmap_result r = mq_strmap_add(&texts, p->text, p->size, i);
        if (r == MQ_STRMAP_NO_MEMORY)
            status = mq_fail_memory(err, "reading the tokenizer");
        if (r == MQ_STRMAP_DUPLICATE) {
            p->type = MQ_GGUF_TOKEN_UNUSED;
            p->left_out = true;
            v->doubles++;
        }
    }
    if (status == MOEQ_OK)
        mq_gguf_override_types(v, &texts);
    mq_strmap_free(&texts);
    return status;
}

/* A token's id; the default where the key is absent or no token's; -1 if there is no default. */
static moeq_status read_id(const struct mq_gguf_vocab *v, const char *name, int64_t otherwise,
                           int64_t *id, moeq_error *err)
{
    const struct mq_gguf_key *key = mq_gguf_find(v->gguf, name);
    uint64_t value;
    *id = otherwise < (int64_t)v->count ? otherwise : -1;
    if (!key)
        return MOEQ_OK;
    double number;
    if (key->type == MQ_GGUF_ARRAY || !mq_gguf_number(v->gguf, key, 0, &number))
        return mq_gguf_fail_key(v->gguf, key, MOEQ_MALFORMED, err,
                                "expected the id of one of the %u tokens", v->count);
    if (mq_gguf_whole(v->gguf, key, 0, &value) && value < v->count)
        *id = (int64_t)value;
    return MOEQ_OK;
}

static moeq_status read_flag(const struct mq_gguf *g, const char *name, bool otherwise, bool *flag,
                             moeq_error *err)
{
    const struct mq_gguf_key *key = mq_gguf_find(g, name);
    uint64_t number;
    *flag = otherwise;
    if (!key || mq_gguf_bool(g, key, flag))
        return MOEQ_OK;
    if (key->type == MQ_GGUF_ARRAY || !mq_gguf_whole(g, key, 0, &number) || number > 1)
        return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err, "expected a boolean");
    *flag = number == 1;
    return MOEQ_OK;
}

/* ---- writing what both kinds have ---- */

static void put_piece(struct mq_buffer *json, const struct mq_gguf_piece *piece)
{
    mq_buffer_put_json(json, piece->text, piece->size);
}

static void put_added_tokens(struct mq_buffer *json, const struct mq_gguf_vocab *v)
{
    const char *separator = "";
    mq_buffer_puts(json, "\"added_tokens\": [");
    for (uint32_t i = 0; i < v->count; i++) {
        const enum mq_gguf_token_type type = v->pieces[i].type;
        if (type != MQ_GGUF_TOKEN_CONTROL && type != MQ_GGUF_TOKEN_USER_DEFINED &&
            type != MQ_GGUF_TOKEN_UNKNOWN)
            continue;
        mq_buffer_printf(json, "%s\n{\"id\": %u, \"content\": ", separator, i);
        put_piece(json, &v->pieces[i]);
        mq_buffer_printf(json,
                         ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                         "\"normalized\": false, \"special\": %s}",
                         type == MQ_GGUF_TOKEN_USER_DEFINED ? "false" : "true");
        separator = ",";
    }
    mq_buffer_puts(json, "],\n");
}

static void put_vocab(struct mq_buffer *json, const struct mq_gguf_vocab *v)
{
    const char *separator = "";
    mq_buffer_puts(json, "\"vocab\": {");
    for (uint32_t i = 0; i < v->count; i++) {
        if (v->pieces[i].left_out)
            continue;
        mq_buffer_puts(json, separator);
        mq_buffer_putc(json, '\n');
        put_piece(json, &v->pieces[i]);
        mq_buffer_printf(json, ": %u", i);
        separator = ",";
    }
    mq_buffer_puts(json, "},\n");
}

/* The merges as the file has them: "left right". */
static moeq_status put_listed_merges(struct mq_buffer *json, const struct mq_gguf *g,
                                     const struct mq_gguf_key *key, moeq_error *err)
{
    struct mq_gguf_strings s = mq_gguf_strings(g, key);
    if (key->type != MQ_GGUF_ARRAY || key->element != MQ_GGUF_STRING)
        return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err, "expected an array of strings");
    for (uint64_t i = 0; mq_gguf_next(&s); i++) {
        if (memchr(s.text, '\0', s.size) || !mq_utf8_valid(s.text, s.size, NULL))
            return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err,
                                    "merge %" PRIu64 " is not UTF-8 text without U+0000", i);
        mq_buffer_puts(json, i ? ",\n" : "\n");
        mq_buffer_put_json(json, s.text, s.size);
    }
    return MOEQ_OK;
}

/* What stands around every text. */
struct ends {
    int64_t bos, eos; /* -1: nothing */
};

static moeq_status read_ends(const struct mq_gguf_vocab *v, bool add_bos, int64_t default_bos,
                             int64_t default_eos, struct ends *ends, moeq_error *err)
{
    bool add_eos;
    MQ_TRY(read_id(v, MQ_GGUF_KEY_BOS, default_bos, &ends->bos, err));
    MQ_TRY(read_id(v, MQ_GGUF_KEY_EOS, default_eos, &ends->eos, err));
    MQ_TRY(read_flag(v->gguf, MQ_GGUF_KEY_ADD_BOS, add_bos, &add_bos, err));
    MQ_TRY(read_flag(v->gguf, MQ_GGUF_KEY_ADD_EOS, false, &add_eos, err));
    if (!add_bos)
        ends->bos = -1;
    if (!add_eos)
        ends->eos = -1;
    return MOEQ_OK;
}

static struct mq_end_token end_token(const struct mq_gguf_vocab *v, int64_t id)
{
    struct mq_end_token token = {.id = id};
    if (id >= 0) {
        token.text = v->pieces[id].text;
        token.size = v->pieces[id].size;
    }
    return token;
}

static void put_template(struct mq_buffer *json, const struct mq_gguf_vocab *v,
                         const struct ends *ends)
{
    const struct mq_end_token bos = end_token(v, ends->bos), eos = end_token(v, ends->eos);
    mq_put_template(json, &bos, &eos);
}

static void begin(struct mq_buffer *json, const struct mq_gguf_vocab *v)
{
    mq_buffer_puts(json, "{\n\"version\": \"1.0\",\n\"truncation\": null,\n\"padding\": null,\n");
    put_added_tokens(json, v);
}

/* ---- pieces with scores ---- */

/* <0x00> to <0xFF> are found by their texts, whatever their types: a file may have no types. */
static bool is_byte(const struct mq_gguf_piece *piece)
{
    return piece->size == 6 && piece->type == MQ_GGUF_TOKEN_NORMAL &&
           memcmp(piece->text, "<0x", 3) == 0 && piece->text[5] == '>';
}

/* The type in a SentencePiece model, whose types have the same numbers. */
static enum mq_gguf_token_type type_in_t5(const struct mq_gguf_vocab *v, uint32_t id, int64_t unk)
{
    (void)unk;
    return v->pieces[id].type;
}

/* The same of `llama`: added tokens have been found before, so that what is left can be joined. */
static enum mq_gguf_token_type type_in_llama(const struct mq_gguf_vocab *v, uint32_t id,
                                             int64_t unk)
{
    const struct mq_gguf_piece *p = &v->pieces[id];
    if (id == unk)
        return MQ_GGUF_TOKEN_UNKNOWN;
    if (is_byte(p) || p->type == MQ_GGUF_TOKEN_BYTE)
        return MQ_GGUF_TOKEN_BYTE;
    return mq_gguf_takes_part(p) ? MQ_GGUF_TOKEN_NORMAL : MQ_GGUF_TOKEN_CONTROL;
}

/* [piece, score, type], ... */
static moeq_status put_scored(struct mq_buffer *json, const struct mq_gguf_vocab *v, int64_t unk,
                              enum mq_gguf_token_type (*type_of)(const struct mq_gguf_vocab *v,
                                                                 uint32_t id, int64_t unk),
                              moeq_error *err)
{
    mq_buffer_puts(json, "\"vocab\": [");
    for (uint32_t i = 0; i < v->count; i++) {
        double score = 0;
        if (v->scores && (!mq_gguf_number(v->gguf, v->scores, i, &score) || !isfinite(score)))
            return mq_gguf_fail_key(v->gguf, v->scores, MOEQ_MALFORMED, err,
                                    "token %u: expected a finite score", i);
        mq_buffer_puts(json, i ? ",\n[" : "\n[");
        if (v->pieces[i].left_out) /* its text may be another token's, or none */
            mq_buffer_printf(json, "\"[UNUSED%u]\"", i);
        else
            put_piece(json, &v->pieces[i]);
        mq_buffer_printf(json, ", %.9g, %d]", score, (int)type_of(v, i, unk));
    }
    mq_buffer_puts(json, "]");
    return MOEQ_OK;
}

/* ---- `llama` ---- */

/* Normalizations of text that published Llama and Mistral models do not have. */
static const char *const llama_refused[] = {MQ_GGUF_KEY_CHARSMAP, MQ_GGUF_KEY_REMOVE_EXTRA};

static moeq_status find_unknown(const struct mq_gguf_vocab *v, int64_t *unk, moeq_error *err)
{
    MQ_TRY(read_id(v, MQ_GGUF_KEY_UNK, -1, unk, err));
    for (uint32_t i = 0; i < v->count && *unk < 0; i++)
        if (v->pieces[i].type == MQ_GGUF_TOKEN_UNKNOWN)
            *unk = i;
    /* llama.cpp's default, where a file without types has it by name. */
    if (*unk < 0 && v->pieces[0].size == 5 && memcmp(v->pieces[0].text, "<unk>", 5) == 0)
        *unk = 0;
    if (*unk >= 0 && v->pieces[*unk].left_out)
        *unk = -1;
    return MOEQ_OK;
}

/* Merges in the order of ranks: those of the file, or those that the scores say. */
static moeq_status put_ranked_model(struct mq_buffer *json, const struct mq_gguf_vocab *v,
                                    int64_t unk, bool bytes, moeq_error *err)
{
    const struct mq_gguf_key *merges = mq_gguf_find(v->gguf, MQ_GGUF_KEY_MERGES);
    mq_buffer_puts(json, "\"model\": {\"type\": \"BPE\", \"unk_token\": ");
    if (unk >= 0)
        put_piece(json, &v->pieces[unk]);
    else
        mq_buffer_puts(json, "null");
    mq_buffer_printf(json,
                     ", \"fuse_unk\": true, \"byte_fallback\": %s, \"ignore_merges\": false,\n",
                     bytes ? "true" : "false");
    put_vocab(json, v);
    mq_buffer_puts(json, "\"merges\": [");
    MQ_TRY(merges ? put_listed_merges(json, v->gguf, merges, err)
                  : mq_gguf_put_merges(json, v, err));
    mq_buffer_puts(json, "]}\n}\n");
    return MOEQ_OK;
}

/* Pieces with scores, of which equal ones go by their places: sentencepiece's own way. */
static moeq_status put_scored_model(struct mq_buffer *json, const struct mq_gguf_vocab *v,
                                    int64_t unk, bool bytes, moeq_error *err)
{
    mq_buffer_printf(json,
                     "\"model\": {\"type\": \"SentencePiece\", \"algorithm\": \"BPE\", "
                     "\"byte_fallback\": %s, ",
                     bytes ? "true" : "false");
    MQ_TRY(put_scored(json, v, unk, type_in_llama, err));
    mq_buffer_puts(json, "}\n}\n");
    return MOEQ_OK;
}

static void put_llama_normalizer(struct mq_buffer *json, bool prefix, bool scored)
{
    if (scored)
        mq_buffer_printf(json,
                         "\"normalizer\": {\"type\": \"SentencePiece\", \"add_dummy_prefix\": %s, "
                         "\"remove_extra_whitespaces\": false, \"precompiled_charsmap\": \"\"},\n",
                         prefix ? "true" : "false");
    else
        mq_buffer_printf(json,
                         "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [%s"
                         "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, "
                         "\"content\": \"" MQ_VISIBLE_SPACE "\"}]},\n",
                         prefix ? "{\"type\": \"Prepend\", \"prepend\": \"" MQ_VISIBLE_SPACE "\"}, "
                                : "");
    mq_buffer_puts(json, "\"pre_tokenizer\": null,\n");
}

static moeq_status put_llama(struct mq_buffer *json, struct mq_gguf_vocab *v, moeq_error *err)
{
    struct ends ends;
    int64_t unk;
    bool prefix, bytes = false, scored = false;
    MQ_TRY(read_ends(v, true, 1, 2, &ends, err)); /* llama.cpp's defaults: <s>, </s> */
    MQ_TRY(read_flag(v->gguf, MQ_GGUF_KEY_ADD_PREFIX, true, &prefix, err));
    MQ_TRY(find_unknown(v, &unk, err));
    for (uint32_t i = 0; i < v->count; i++)
        bytes |= v->pieces[i].type == MQ_GGUF_TOKEN_BYTE || is_byte(&v->pieces[i]);
    if (unk >= 0 && !mq_gguf_find(v->gguf, MQ_GGUF_KEY_MERGES))
        MQ_TRY(mq_gguf_scores_tie(v, &scored, &v->scoreless, err));
    begin(json, v);
    put_llama_normalizer(json, prefix, scored);
    put_template(json, v, &ends);
    mq_buffer_printf(
        json,
        "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
        "\"pattern\": {\"String\": \"" MQ_VISIBLE_SPACE "\"}, \"content\": \" \"}, "
        "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}%s]},\n",
        prefix ? ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}" : "");
    return scored ? put_scored_model(json, v, unk, bytes, err)
                  : put_ranked_model(json, v, unk, bytes, err);
}

/* ---- `t5` ---- */

static moeq_status put_charsmap(struct mq_buffer *json, const struct mq_gguf *g, moeq_error *err)
{
    const struct mq_gguf_key *key = mq_gguf_find(g, MQ_GGUF_KEY_CHARSMAP);
    struct mq_buffer bytes = {0};
    uint64_t byte;
    if (!key)
        return MOEQ_OK;
    bool ok = key->type == MQ_GGUF_ARRAY &&
              (key->element == MQ_GGUF_U8 || key->element == MQ_GGUF_I8) &&
              key->count <= MAX_CHARSMAP_BYTES;
    for (uint64_t i = 0; ok && i < key->count; i++) {
        double value;
        ok = mq_gguf_number(g, key, i, &value);
        byte = ok ? (uint64_t)(int64_t)value : 0;
        mq_buffer_putc(&bytes, (char)(unsigned char)byte);
    }
    if (ok)
        mq_base64_encode(bytes.data, bytes.size, json);
    ok = ok && mq_buffer_ok(&bytes);
    mq_buffer_free(&bytes);
    return ok ? MOEQ_OK
              : mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err,
                                 "expected an array of at most %d bytes", MAX_CHARSMAP_BYTES);
}

/* A Unigram model of sentencepiece; llama.cpp's defaults are those of T5. */
static moeq_status put_t5(struct mq_buffer *json, const struct mq_gguf_vocab *v, moeq_error *err)
{
    const struct mq_gguf *g = v->gguf;
    struct ends ends;
    bool prefix, remove_extra, add_eos;
    MQ_TRY(read_ends(v, false, -1, 1, &ends, err));
    MQ_TRY(read_flag(g, MQ_GGUF_KEY_ADD_EOS, true, &add_eos, err));
    if (add_eos)
        MQ_TRY(read_id(v, MQ_GGUF_KEY_EOS, 1, &ends.eos, err));
    MQ_TRY(read_flag(g, MQ_GGUF_KEY_ADD_PREFIX, false, &prefix, err));
    MQ_TRY(read_flag(g, MQ_GGUF_KEY_REMOVE_EXTRA, false, &remove_extra, err));
    begin(json, v);
    mq_buffer_printf(json,
                     "\"normalizer\": {\"type\": \"SentencePiece\", \"add_dummy_prefix\": %s, "
                     "\"remove_extra_whitespaces\": %s, \"precompiled_charsmap\": \"",
                     prefix ? "true" : "false", remove_extra ? "true" : "false");
    MQ_TRY(put_charsmap(json, g, err));
    mq_buffer_puts(json, "\"},\n\"pre_tokenizer\": null,\n");
    put_template(json, v, &ends);
    mq_buffer_printf(
        json,
        "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
        "\"pattern\": {\"String\": \"" MQ_VISIBLE_SPACE
        "\"}, \"content\": \" \"}, {\"type\": \"Fuse\"}%s]},\n",
        prefix ? ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}" : "");
    mq_buffer_puts(json, "\"model\": {\"type\": \"SentencePiece\", \"algorithm\": \"Unigram\", "
                         "\"byte_fallback\": false, ");
    MQ_TRY(put_scored(json, v, -1, type_in_t5, err));
    mq_buffer_puts(json, "}\n}\n");
    return MOEQ_OK;
}

/* ---- `gpt2` ---- */

static const struct mq_gguf_pre *find_pre(const struct mq_gguf *g)
{
    struct mq_gguf_strings s = mq_gguf_strings(g, mq_gguf_find(g, MQ_GGUF_KEY_PRE));
    return mq_gguf_next(&s) ? mq_gguf_pre_find(s.text, s.size) : NULL;
}

static moeq_status put_gpt2(struct mq_buffer *json, const struct mq_gguf_vocab *v,
                            const struct mq_gguf_pre *pre, moeq_error *err)
{
    const struct mq_gguf_key *merges = mq_gguf_find(v->gguf, MQ_GGUF_KEY_MERGES);
    struct ends ends;
    if (!merges)
        return mq_fail_file(err, MOEQ_MALFORMED, v->gguf->file.path,
                            "key '" MQ_GGUF_KEY_MERGES "' is missing");
    MQ_TRY(read_ends(v, pre->add_bos, 11, 11, &ends, err)); /* llama.cpp's defaults */
    begin(json, v);
    /* llama.cpp normalizes no text of this kind, and follows no add_space_prefix. */
    mq_buffer_puts(json, "\"normalizer\": null,\n\"pre_tokenizer\": ");
    mq_gguf_put_rule(json, pre->rule, false);
    mq_buffer_puts(json, ",\n");
    put_template(json, v, &ends);
    mq_buffer_printf(
        json,
        "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
        "\"trim_offsets\": true, \"use_regex\": true},\n\"model\": {\"type\": \"BPE\", "
        "\"unk_token\": null, \"fuse_unk\": false, \"byte_fallback\": false, "
        "\"ignore_merges\": %s,\n",
        pre->ignore_merges ? "true" : "false");
    put_vocab(json, v);
    mq_buffer_puts(json, "\"merges\": [");
    MQ_TRY(put_listed_merges(json, v->gguf, merges, err));
    mq_buffer_puts(json, "]}\n}\n");
    return MOEQ_OK;
}

/* ---- which ---- */

/* The key's text for a message, cut to fit; "" if it has none. */
static const char *short_text(const struct mq_gguf *g, const char *name, char text[64])
{
    struct mq_gguf_strings s = mq_gguf_strings(g, mq_gguf_find(g, name));
    text[0] = '\0';
    if (mq_gguf_next(&s) && mq_utf8_valid(s.text, s.size, NULL)) {
        const size_t n = s.size < 63 ? s.size : 63;
        memcpy(text, s.text, n);
        text[n] = '\0';
    }
    return text;
}

/* Why words cannot be cut as the file's model has it; NULL if they can, or when out of memory. */
static const char *problem_of_pre(const struct mq_gguf *g, struct mq_arena *arena,
                                  const struct mq_gguf_pre *pre)
{
#define UNREADABLE "its tokenizer cannot be read: "
#define ADVICE "gguf-py's gguf-new-metadata --pre-tokenizer NAME writes a copy"
    const struct mq_gguf_key *key = mq_gguf_find(g, MQ_GGUF_KEY_PRE);
    struct mq_buffer names = {0};
    const char *problem = NULL;
    char text[64];
    if (pre && pre->rule)
        return NULL;
    mq_gguf_put_pre_names(&names);
    if (!mq_buffer_ok(&names))
        problem = NULL;
    else if (pre)
        problem = mq_arena_printf(arena,
                                  UNREADABLE "\"%s\" in '" MQ_GGUF_KEY_PRE
                                             "', which names how words are cut, is not "
                                             "supported (%s)",
                                  pre->name, pre->what);
    else if (!key || !short_text(g, MQ_GGUF_KEY_PRE, text)[0])
        problem = mq_arena_printf(
            arena,
            UNREADABLE
            "the key '" MQ_GGUF_KEY_PRE
            "' is %s, which names how words are cut (files of before May 2024 have "
            "none; llama.cpp then takes its rule \"default\", which is no model's. Where "
            "the model is known, " ADVICE " that has the key: one of %s, or a name that "
            "means the same)",
            key ? "empty" : "missing", names.data);
    else
        problem = mq_arena_printf(arena,
                                  UNREADABLE "\"%s\" in '" MQ_GGUF_KEY_PRE
                                             "', which names how words are cut, is not known "
                                             "(known: %s, and names that mean the same; " ADVICE
                                             " with another name)",
                                  text, names.data);
    mq_buffer_free(&names);
    return problem;
}

/* The same of a sentencepiece model. */
static const char *problem_of_llama(const struct mq_gguf *g, struct mq_arena *arena)
{
    for (size_t i = 0; i < sizeof llama_refused / sizeof *llama_refused; i++) {
        const struct mq_gguf_key *key = mq_gguf_find(g, llama_refused[i]);
        bool on = true;
        if (key && (!mq_gguf_bool(g, key, &on) || on))
            return mq_arena_printf(arena,
                                   "its tokenizer normalizes text by '%s', which is not "
                                   "implemented",
                                   key->name);
    }
    return NULL;
}

/* The original file as a whole, which the specification has a key for. */
static moeq_status copy_huggingface(const struct mq_gguf *g, const struct mq_gguf_key *key,
                                    struct mq_buffer *json, moeq_error *err)
{
    struct mq_gguf_strings s = mq_gguf_strings(g, key);
    if (key->type != MQ_GGUF_STRING || !mq_gguf_next(&s) || s.size > MAX_HUGGINGFACE_BYTES)
        return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err, "expected a text of at most %d bytes",
                                MAX_HUGGINGFACE_BYTES);
    mq_buffer_append(json, s.text, s.size);
    return mq_buffer_ok(json) ? MOEQ_OK : mq_fail_memory(err, "reading the tokenizer");
}

/* The original where it can be used; else the keys of GGUF say the tokenizer, and a note why. */
static moeq_status try_huggingface(const struct mq_gguf *g, const struct mq_gguf_key *key,
                                   struct mq_arena *arena, struct mq_buffer *json,
                                   struct mq_gguf_vocab *v, moeq_error *err)
{
    struct mq_tokenizer *tokenizer = NULL;
    moeq_error why = {0};
    moeq_status status = copy_huggingface(g, key, json, &why);
    const size_t n = status == MOEQ_OK ? 0 : strlen(g->file.path) + 2; /* "path: " */
    if (status == MOEQ_OK)
        status = mq_tokenizer_load(json->data, json->size, "key '" KEY_HUGGINGFACE "'", &tokenizer,
                                   &why);
    mq_tokenizer_free(tokenizer);
    if (status == MOEQ_OK)
        return MOEQ_OK;
    mq_buffer_free(json);
    if (status == MOEQ_NO_MEMORY)
        return mq_fail_memory(err, "reading the tokenizer");
    v->passed_over = mq_arena_strdup(arena, strlen(why.message) > n ? why.message + n : "");
    return v->passed_over ? MOEQ_OK : mq_fail_memory(err, "reading the tokenizer");
}

/* The tokenizer.json, or why there is none. */
static moeq_status make(const struct mq_gguf *gguf, struct mq_arena *arena, struct mq_buffer *json,
                        const char **problem, struct mq_gguf_vocab *v, moeq_error *err)
{
    const struct mq_gguf_key *model = mq_gguf_find(gguf, MQ_GGUF_KEY_TOKENIZER);
    const struct mq_gguf_key *original = mq_gguf_find(gguf, KEY_HUGGINGFACE);
    const bool llama = mq_gguf_text_is(gguf, model, "llama");
    const bool gpt2 = mq_gguf_text_is(gguf, model, "gpt2");
    const bool t5 = mq_gguf_text_is(gguf, model, "t5");
    char text[64];
    if (original)
        MQ_TRY(try_huggingface(gguf, original, arena, json, v, err));
    if (original && !v->passed_over)
        return MOEQ_OK;
    if (!model && v->passed_over)
        *problem = mq_arena_printf(arena, "its tokenizer cannot be read: %s", v->passed_over);
    if (!model)
        return !v->passed_over || *problem ? MOEQ_OK : mq_fail_memory(err, "reading the tokenizer");
    const struct mq_gguf_pre *pre = gpt2 ? find_pre(gguf) : NULL;
    if (!llama && !gpt2 && !t5)
        *problem = mq_arena_printf(arena,
                                   "its tokenizer is of the kind \"%s\", which is not "
                                   "supported (supported: llama, t5, gpt2)",
                                   short_text(gguf, MQ_GGUF_KEY_TOKENIZER, text));
    else if (!t5)
        *problem = llama ? problem_of_llama(gguf, arena) : problem_of_pre(gguf, arena, pre);
    if (*problem)
        return MOEQ_OK;
    if (gpt2 && (!pre || !pre->rule)) /* there is a problem, but no memory to say it */
        return mq_fail_memory(err, "reading the tokenizer");
    MQ_TRY(read_pieces(v, err));
    MQ_TRY(settle_texts(v, err));
    MQ_TRY(llama ? put_llama(json, v, err)
           : t5  ? put_t5(json, v, err)
                 : put_gpt2(json, v, pre, err));
    return mq_buffer_ok(json) ? MOEQ_OK : mq_fail_memory(err, "reading the tokenizer");
}

/* What is odd about the tokenizer; NULL if nothing is, or when out of memory. */
static const char *note_of(const struct mq_gguf_vocab *v, struct mq_arena *arena)
{
    struct mq_buffer text = {0};
    const char *note = NULL;
    if (v->passed_over)
        mq_buffer_printf(&text,
                         "; the tokenizer is that of the keys tokenizer.ggml.*, since its original "
                         "cannot be used: %s",
                         v->passed_over);
    if (v->scoreless)
        mq_buffer_puts(&text, "; the tokenizer's pieces have no scores that tell them apart: words "
                              "are put together from the left, as llama.cpp does it, which may "
                              "give other ids than the model was trained with");
    if (v->doubles || v->unreadable)
        mq_buffer_printf(&text,
                         "; of the tokenizer's %u tokens, %u have the text of a later one, which "
                         "counts, and %u have no text in UTF-8 without U+0000: no text that is "
                         "tokenized has these",
                         v->count, v->doubles, v->unreadable);
    if (text.size && mq_buffer_ok(&text))
        note = mq_arena_strndup(arena, text.data + 2, text.size - 2);
    mq_buffer_free(&text);
    return note;
}

moeq_status mq_gguf_tokenizer(const struct mq_gguf *gguf, struct mq_arena *arena,
                              struct mq_buffer *json, const char **problem, const char **note,
                              moeq_error *err)
{
    struct mq_gguf_vocab v = {.gguf = gguf};
    moeq_error own = {0};
    *problem = *note = NULL;
    moeq_status status = make(gguf, arena, json, problem, &v, &own);
    if (status == MOEQ_OK) {
        *note = note_of(&v, arena);
    } else if (status == MOEQ_NO_MEMORY) {
        status = mq_fail_memory(err, "reading the tokenizer");
    } else { /* "path: " stands in front of it wherever it is shown */
        const size_t n = strlen(gguf->file.path) + 2;
        mq_buffer_free(json);
        *problem = mq_arena_printf(arena, "its tokenizer cannot be read: %s",
                                   strlen(own.message) > n ? own.message + n : own.message);
        status = *problem ? MOEQ_OK : mq_fail_memory(err, "reading the tokenizer");
    }
    free(v.pieces);
    return status;
}

moeq_status mq_gguf_note_tokenizer(const struct mq_gguf *gguf, struct mq_view *view,
                                   moeq_error *err)
{
    static const char fallback[] = "default";
    if (view->tokenizer_problem)
        return mq_view_note(view, err, "%s", view->tokenizer_problem);
    if (mq_gguf_find(gguf, KEY_HUGGINGFACE) ||
        !mq_gguf_text_is(gguf, mq_gguf_find(gguf, MQ_GGUF_KEY_TOKENIZER), "gpt2") ||
        !mq_gguf_text_is(gguf, mq_gguf_find(gguf, MQ_GGUF_KEY_PRE), fallback))
        return MOEQ_OK;
    return mq_view_note(view, err,
                        "its tokenizer cuts words by llama.cpp's rule \"%s\" "
                        "('" MQ_GGUF_KEY_PRE "'), which is no model's: a text may get other ids "
                        "than those that the model was trained with",
                        fallback);
}
