/*
 * decode.c: ids to text: the decoders of a tokenizer.json.
 *
 * The ids' pieces are a list of texts. Each decoder makes a new list of it, in the file's order,
 * and what is left at the end is joined. The order matters: a SentencePiece-like file first turns
 * U+2581 into spaces in each piece, then runs of byte pieces into characters, then fuses all into
 * one text and only then strips the one space that its normalizer had put in front.
 */
#include "tokenizer_int.h"

#include "byte_level.h"
#include "error.h"
#include "utf8.h"

#include <string.h>

static const char replacement_character[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Reads a text of one character. */
static moeq_status load_character(struct mq_load *load, const cJSON *json, const char *key,
                                  const char *what, struct mq_text *text)
{
    uint32_t code;
    MQ_TRY(mq_load_text(load, json, key, what, text));
    if (!text->size || mq_utf8_next(text->data, &code) != text->size)
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path, "%s: '%s' is not one character",
                            what, key);
    return MOEQ_OK;
}

static moeq_status load_strip(struct mq_load *load, const cJSON *json, struct mq_decoder_step *step)
{
    step->kind = MQ_DEC_STRIP;
    MQ_TRY(load_character(load, json, "content", "decoder Strip", &step->from));
    if (!mq_json_u64(mq_json_get(json, "start"), &step->start) ||
        !mq_json_u64(mq_json_get(json, "stop"), &step->stop))
        return mq_load_malformed(load, "decoder Strip", "'start' or 'stop' is missing or no count");
    return MOEQ_OK;
}

static moeq_status load_metaspace(struct mq_load *load, const cJSON *json,
                                  struct mq_decoder_step *step)
{
    static const char what[] = "decoder Metaspace";
    step->kind = MQ_DEC_METASPACE;
    MQ_TRY(load_character(load, json, "replacement", what, &step->from));
    const cJSON *scheme = mq_json_get(json, "prepend_scheme");
    const char *name = cJSON_IsString(scheme) ? scheme->valuestring : scheme ? "" : "always";
    if (strcmp(name, "always") != 0 && strcmp(name, "first") != 0 && strcmp(name, "never") != 0)
        return mq_load_unsupported(load, "decoder Metaspace: prepend_scheme", name);
    /* Encoding has put it in front of the first word. */
    step->drop_leading = strcmp(name, "never") != 0;
    bool prefix;
    MQ_TRY(mq_load_flag(load, json, "add_prefix_space", what, 1, &prefix));
    if (!prefix && step->drop_leading)
        return mq_load_malformed(load, what, "add_prefix_space contradicts prepend_scheme");
    return MOEQ_OK;
}

static moeq_status load_step(struct mq_load *load, const cJSON *json, const char *type)
{
    struct mq_tokenizer *t = load->tokenizer;
    struct mq_decoder_step step = {0};
    if (strcmp(type, "ByteLevel") == 0) {
        step.kind = MQ_DEC_BYTE_LEVEL;
    } else if (strcmp(type, "Replace") == 0) {
        step.kind = MQ_DEC_REPLACE;
        const cJSON *pattern = mq_json_get(json, "pattern");
        if (mq_json_get(pattern, "Regex"))
            return mq_load_unsupported(load, "decoder Replace", "pattern Regex");
        MQ_TRY(mq_load_text(load, pattern, "String", "decoder Replace", &step.from));
        MQ_TRY(mq_load_text(load, json, "content", "decoder Replace", &step.to));
    } else if (strcmp(type, "ByteFallback") == 0) {
        step.kind = MQ_DEC_BYTE_FALLBACK;
    } else if (strcmp(type, "Fuse") == 0) {
        step.kind = MQ_DEC_FUSE;
    } else if (strcmp(type, "Strip") == 0) {
        MQ_TRY(load_strip(load, json, &step));
    } else if (strcmp(type, "Metaspace") == 0) {
        MQ_TRY(load_metaspace(load, json, &step));
    } else {
        return mq_load_unsupported(load, "decoder", type);
    }
    if (t->decoder_count == MQ_MAX_STEPS)
        return mq_load_malformed(load, "decoder", "too many steps");
    t->decoders[t->decoder_count++] = step;
    return MOEQ_OK;
}

moeq_status mq_decoder_load(struct mq_load *load, const cJSON *json)
{
    load->tokenizer->has_decoder = json && !cJSON_IsNull(json);
    return mq_load_sequence(load, json, "decoders", "decoder", load_step);
}

/*
 * Appends bytes as UTF-8, with U+FFFD for what is not: one for each maximal part of a character
 * that breaks off (Unicode 16.0, section 3.9, "U+FFFD Substitution of Maximal Subparts"), which is
 * what Rust's from_utf8_lossy does.
 */
static void append_lossy(const char *bytes, size_t n, struct mq_buffer *text)
{
    while (n) {
        size_t good = n;
        if (mq_utf8_valid(bytes, n, &good))
            good = n;
        mq_buffer_append(text, bytes, good);
        bytes += good;
        n -= good;
        if (!n)
            return;
        const unsigned char *s = (const unsigned char *)bytes;
        /* How long the character would be, and the range of its second byte (table 3-7). */
        const size_t length = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
                              : s[0] >= 0xe0 && s[0] <= 0xef ? 3
                              : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                             : 1;
        const unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
        const unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
        size_t part = 1;
        if (part < length && part < n && s[1] >= low && s[1] <= high)
            for (part = 2; part < length && part < n && (s[part] & 0xc0) == 0x80;)
                part++;
        mq_buffer_puts(text, replacement_character);
        bytes += part;
        n -= part;
    }
}

/* The pieces' characters become bytes and those one text: a character's bytes may be spread over
 * several pieces, so no piece can be decoded alone. */
static void decode_byte_level(const struct mq_pieces *in, struct mq_pieces *out)
{
    struct mq_buffer bytes = {0};
    for (size_t i = 0; i < in->count; i++)
        mq_byte_level_decode(in->text.data + in->spans[i].start,
                             in->spans[i].end - in->spans[i].start, &bytes);
    append_lossy(bytes.data, bytes.size, &out->text);
    out->failed |= !mq_buffer_ok(&bytes);
    mq_buffer_free(&bytes);
    mq_pieces_end(out, 0);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that a piece <0xNN> stands for, -1 for any other piece. */
static int fallback_byte(const char *piece, size_t n)
{
    if (n != 6 || memcmp(piece, "<0x", 3) != 0 || piece[5] != '>')
        return -1;
    const int high = hex_digit(piece[3]), low = hex_digit(piece[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A run of byte pieces becomes one piece of text or, if it is not UTF-8 as a whole, one U+FFFD for
 * each of its bytes. */
static void end_byte_run(struct mq_buffer *run, struct mq_pieces *out)
{
    if (!run->size)
        return;
    const bool valid = mq_utf8_valid(run->data, run->size, NULL);
    const size_t start = out->text.size;
    if (valid)
        mq_buffer_append(&out->text, run->data, run->size);
    for (size_t i = 0; !valid && i < run->size; i++) {
        const size_t one = out->text.size;
        mq_buffer_puts(&out->text, replacement_character);
        mq_pieces_end(out, one);
    }
    if (valid)
        mq_pieces_end(out, start);
    mq_buffer_clear(run);
}

/* Pieces <0xNN> become the characters whose bytes they are; the others stay. */
static void decode_byte_fallback(const struct mq_pieces *in, struct mq_pieces *out)
{
    struct mq_buffer run = {0};
    for (size_t i = 0; i < in->count; i++) {
        const char *piece = in->text.data + in->spans[i].start;
        const size_t n = in->spans[i].end - in->spans[i].start;
        const int byte = fallback_byte(piece, n);
        if (byte >= 0) {
            mq_buffer_putc(&run, (char)byte);
            continue;
        }
        end_byte_run(&run, out);
        const size_t start = out->text.size;
        mq_buffer_append(&out->text, piece, n);
        mq_pieces_end(out, start);
    }
    end_byte_run(&run, out);
    out->failed |= !mq_buffer_ok(&run);
    mq_buffer_free(&run);
}

/* Cuts up to `start` characters in front and `stop` behind, as far as they are the step's. */
static struct mq_span strip_piece(const struct mq_decoder_step *step, const char *text,
                                  struct mq_span piece)
{
    const size_t n = step->from.size;
    for (uint64_t k = 0; k < step->start && piece.end - piece.start >= n &&
                         memcmp(text + piece.start, step->from.data, n) == 0;
         k++)
        piece.start += n;
    for (uint64_t k = 0; k < step->stop && piece.end - piece.start >= n &&
                         memcmp(text + piece.end - n, step->from.data, n) == 0;
         k++)
        piece.end -= n;
    return piece;
}

/* The decoders that work on each piece for itself. Metaspace drops its character from the first
 * piece, as the prefix that encoding has added, and makes spaces of all others. */
static void decode_each(const struct mq_decoder_step *step, const struct mq_pieces *in,
                        struct mq_pieces *out)
{
    const struct mq_text nothing = {"", 0}, space = {" ", 1};
    for (size_t i = 0; i < in->count; i++) {
        struct mq_span span = in->spans[i];
        const char *text = in->text.data;
        const size_t start = out->text.size;
        if (step->kind == MQ_DEC_STRIP) {
            span = strip_piece(step, text, span);
            mq_buffer_append(&out->text, text + span.start, span.end - span.start);
        } else if (step->kind == MQ_DEC_REPLACE) {
            mq_replace_text(text + span.start, span.end - span.start, &step->from, &step->to,
                            &out->text);
        } else {
            mq_replace_text(text + span.start, span.end - span.start, &step->from,
                            i == 0 && step->drop_leading ? &nothing : &space, &out->text);
        }
        mq_pieces_end(out, start);
    }
}

/* Appends the pieces of the ids, with a space between them if the file has no decoder. */
static void gather(const struct mq_tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                   struct mq_pieces *pieces)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= t->vocab_size)
            continue;
        const struct mq_token *token = &t->tokens[ids[i]];
        if (!token->text || (skip_special && token->skip))
            continue;
        if (!t->has_decoder && pieces->count)
            mq_buffer_putc(&pieces->text, ' ');
        const size_t start = pieces->text.size;
        mq_buffer_append(&pieces->text, token->text, token->size);
        mq_pieces_end(pieces, start);
    }
}

moeq_status mq_tokenizer_decode(const struct mq_tokenizer *tokenizer, const int32_t *ids, size_t n,
                                bool skip_special_tokens, struct mq_buffer *text, moeq_error *err)
{
    struct mq_pieces pieces = {0}, next = {0};
    moeq_status status = MOEQ_OK;
    gather(tokenizer, ids, n, skip_special_tokens, &pieces);
    const size_t limit = mq_growth_limit(pieces.text.size);
    for (size_t i = 0; i < tokenizer->decoder_count && mq_pieces_ok(&pieces); i++) {
        const struct mq_decoder_step *step = &tokenizer->decoders[i];
        mq_pieces_clear(&next);
        switch (step->kind) {
        case MQ_DEC_BYTE_LEVEL:
            decode_byte_level(&pieces, &next);
            break;
        case MQ_DEC_BYTE_FALLBACK:
            decode_byte_fallback(&pieces, &next);
            break;
        case MQ_DEC_FUSE:
            mq_buffer_append(&next.text, pieces.text.data, pieces.text.size);
            mq_pieces_end(&next, 0);
            break;
        case MQ_DEC_REPLACE:
        case MQ_DEC_STRIP:
        case MQ_DEC_METASPACE:
            decode_each(step, &pieces, &next);
            break;
        }
        if (next.text.size > limit) {
            status = mq_fail(err, MOEQ_LIMIT,
                             "the tokenizer's decoder makes more than %zu bytes of text", limit);
            goto out;
        }
        mq_pieces_swap(&pieces, &next);
    }
    if (mq_pieces_ok(&pieces))
        mq_buffer_append(text, pieces.text.data, pieces.text.size);
    if (!mq_pieces_ok(&pieces) || !mq_buffer_ok(text))
        status = mq_fail_memory(err, "decoding ids");
out:
    mq_pieces_free(&pieces);
    mq_pieces_free(&next);
    return status;
}
