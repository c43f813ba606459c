/*
 * spm_read.c: the protobuf message ModelProto.
 *
 * On the wire a message is fields one after another:
 *
 *     varint of (number << 3 | wire type) | wire type 0: varint
 *                                                     1: 8 bytes
 *                                                     2: varint length, as many bytes
 *                                                     5: 4 bytes
 *
 * Fields that are not known are stepped over by their wire type. Only pieces repeat; protobuf
 * itself would let the last of other repeated fields count, but no writer writes such, so here that
 * is an error.
 *
 * (https://protobuf.dev/programming-guides/encoding; field numbers: sentencepiece_model.proto.)
 */
#include "sentencepiece.h"

#include "error.h"
#include "json.h"
#include "strmap.h"
#include "what_is_it.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PIECES = 1 << 22,      /* ten times the largest vocabulary */
    MAX_PIECE_BYTES = 1024,    /* sentencepiece's own limit is 16 characters unless set otherwise */
    MAX_TEXT_BYTES = 16 << 20, /* all of a large vocabulary's text is 3 MB */
};

enum wire_type { VARINT = 0, BITS64 = 1, BYTES = 2, BITS32 = 5 };

/* Where reading stands. A nested message is a cursor of its own over the same bytes. */
struct cursor {
    const unsigned char *bytes;
    size_t at, end;
    const char *path;
    moeq_error *err;
};

struct field {
    uint32_t number;
    enum wire_type type;
    size_t at;                 /* of its tag */
    uint64_t value;            /* VARINT, BITS32 */
    struct mq_spm_bytes bytes; /* BYTES */
    size_t start;              /* of those in the file */
};

static moeq_status fail_at(const struct cursor *c, size_t at, const char *problem)
{
    return mq_fail_file(c->err, MOEQ_MALFORMED, c->path, "at byte %zu: %s", at, problem);
}

static moeq_status read_varint(struct cursor *c, uint64_t *value)
{
    const size_t start = c->at;
    *value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (c->at == c->end)
            return fail_at(c, start, "the file, or a message in it, ends inside a number");
        const unsigned char byte = c->bytes[c->at++];
        if (shift == 63 && byte > 1)
            break;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return MOEQ_OK;
    }
    return fail_at(c, start, "a number of more than 64 bits");
}

static moeq_status read_fixed(struct cursor *c, size_t n, uint64_t *value)
{
    if (n > c->end - c->at)
        return fail_at(c, c->at, "the file, or a message in it, ends inside a number");
    *value = 0;
    for (size_t i = 0; i < n; i++)
        *value |= (uint64_t)c->bytes[c->at + i] << (8 * i);
    c->at += n;
    return MOEQ_OK;
}

/* Reads the next field with its value; there must be one. */
static moeq_status read_field(struct cursor *c, struct field *f)
{
    uint64_t tag;
    *f = (struct field){.at = c->at};
    MQ_TRY(read_varint(c, &tag));
    if (tag >> 3 == 0 || tag >> 3 >= 1u << 29)
        return fail_at(c, f->at, "a field's number is out of range");
    f->number = (uint32_t)(tag >> 3);
    f->type = (enum wire_type)(tag & 7);
    switch (f->type) {
    case VARINT:
        return read_varint(c, &f->value);
    case BITS64:
        return read_fixed(c, 8, &f->value);
    case BITS32:
        return read_fixed(c, 4, &f->value);
    case BYTES:
        MQ_TRY(read_varint(c, &f->value));
        if (f->value > c->end - c->at)
            return mq_fail_file(c->err, MOEQ_MALFORMED, c->path,
                                "at byte %zu: a field of %" PRIu64 " bytes, of which %zu are there",
                                f->at, f->value, c->end - c->at);
        f->start = c->at;
        f->bytes = (struct mq_spm_bytes){(const char *)c->bytes + c->at, (size_t)f->value};
        c->at += (size_t)f->value;
        return MOEQ_OK;
    default:
        return mq_fail_file(c->err, MOEQ_MALFORMED, c->path,
                            "at byte %zu: wire type %d, of which no SentencePiece model has any",
                            f->at, (int)(tag & 7));
    }
}

/* A field of a message that is known: where its value goes. */
struct known {
    uint32_t number;
    enum wire_type type;
    const char *name;
    void (*store)(const struct field *f, void *target);
    void *target;
};

static void store_flag(const struct field *f, void *target)
{
    *(bool *)target = f->value != 0;
}
/* int32: negative numbers have all 64 bits. */
static void store_int(const struct field *f, void *target)
{
    *(int64_t *)target = (int32_t)(uint32_t)f->value;
}
static void store_float(const struct field *f, void *target)
{
    const uint32_t bits = (uint32_t)f->value;
    memcpy(target, &bits, sizeof bits);
}
static void store_bytes(const struct field *f, void *target)
{
    *(struct mq_spm_bytes *)target = f->bytes;
}
static void store_field(const struct field *f, void *target)
{
    *(struct field *)target = *f;
}

enum { MAX_KNOWN = 16 };

/* Reads a whole message into what is known of it. */
static moeq_status read_message(const struct cursor *outer, const struct field *message,
                                const struct known *known, size_t known_count)
{
    struct cursor c = *outer;
    bool seen[MAX_KNOWN] = {false};
    c.at = message->start;
    c.end = message->start + message->bytes.size;
    while (c.at < c.end) {
        struct field f;
        MQ_TRY(read_field(&c, &f));
        for (size_t i = 0; i < known_count; i++) {
            if (known[i].number != f.number)
                continue;
            if (known[i].type != f.type || seen[i])
                return mq_fail_file(c.err, MOEQ_MALFORMED, c.path, "at byte %zu: '%s' %s", f.at,
                                    known[i].name,
                                    seen[i] ? "is there twice" : "is of another wire type");
            seen[i] = true;
            known[i].store(&f, known[i].target);
        }
    }
    return MOEQ_OK;
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- the messages ---- */

static moeq_status fail_piece(const struct cursor *c, uint32_t id, const struct field *f,
                              const char *problem)
{
    return mq_fail_file(c->err, MOEQ_MALFORMED, c->path, "piece %u at byte %zu: %s", id, f->at,
                        problem);
}

static moeq_status read_piece(const struct cursor *c, const struct field *f, uint32_t id,
                              struct mq_spm_piece *piece)
{
    int64_t type = MQ_SPM_NORMAL;
    *piece = (struct mq_spm_piece){.score = 0};
    const struct known known[] = {
        {1, BYTES, "piece", store_bytes, &piece->text},
        {2, BITS32, "score", store_float, &piece->score},
        {3, VARINT, "type", store_int, &type},
    };
    MQ_TRY(read_message(c, f, known, COUNT(known)));
    if (!piece->text.size)
        return fail_piece(c, id, f, "it has no text");
    if (piece->text.size > MAX_PIECE_BYTES)
        return mq_fail_file(c->err, MOEQ_LIMIT, c->path,
                            "piece %u at byte %zu: %zu bytes of text, more than %d", id, f->at,
                            piece->text.size, MAX_PIECE_BYTES);
    if (memchr(piece->text.data, '\0', piece->text.size) ||
        !mq_utf8_valid(piece->text.data, piece->text.size, NULL))
        return fail_piece(c, id, f, "its text is not UTF-8 without U+0000");
    if (!isfinite(piece->score))
        return fail_piece(c, id, f, "its score is not finite");
    if (type < MQ_SPM_NORMAL || type > MQ_SPM_BYTE)
        return mq_fail_file(c->err, MOEQ_MALFORMED, c->path,
                            "piece %u at byte %zu: type %" PRId64 ", expected 1 to %d", id, f->at,
                            type, MQ_SPM_BYTE);
    piece->type = (enum mq_spm_type)type;
    return MOEQ_OK;
}

static moeq_status read_trainer(const struct cursor *c, const struct field *f,
                                struct mq_spm_model *m)
{
    int64_t algorithm = MQ_SPM_UNIGRAM;
    const struct known known[] = {
        {3, VARINT, "trainer_spec.model_type", store_int, &algorithm},
        {24, VARINT, "trainer_spec.treat_whitespace_as_suffix", store_flag,
         &m->treat_whitespace_as_suffix},
        {35, VARINT, "trainer_spec.byte_fallback", store_flag, &m->byte_fallback},
        {41, VARINT, "trainer_spec.bos_id", store_int, &m->bos_id},
        {42, VARINT, "trainer_spec.eos_id", store_int, &m->eos_id},
    };
    MQ_TRY(read_message(c, f, known, COUNT(known)));
    if (algorithm == MQ_SPM_WORD || algorithm == MQ_SPM_CHAR)
        return mq_fail_file(c->err, MOEQ_UNSUPPORTED, c->path,
                            "a SentencePiece model of %s, which is not supported (supported: BPE, "
                            "Unigram)",
                            algorithm == MQ_SPM_WORD ? "words" : "characters");
    if (algorithm != MQ_SPM_UNIGRAM && algorithm != MQ_SPM_BPE)
        return mq_fail_file(c->err, MOEQ_MALFORMED, c->path,
                            "at byte %zu: trainer_spec.model_type is %" PRId64 ", expected 1 to 4",
                            f->at, algorithm);
    m->algorithm = (enum mq_spm_algorithm)algorithm;
    return MOEQ_OK;
}

static moeq_status read_normalizer(const struct cursor *c, const struct field *f,
                                   struct mq_spm_model *m)
{
    const struct known known[] = {
        {2, BYTES, "normalizer_spec.precompiled_charsmap", store_bytes, &m->charsmap},
        {3, VARINT, "normalizer_spec.add_dummy_prefix", store_flag, &m->add_dummy_prefix},
        {4, VARINT, "normalizer_spec.remove_extra_whitespaces", store_flag,
         &m->remove_extra_whitespaces},
        {5, VARINT, "normalizer_spec.escape_whitespaces", store_flag, &m->escape_whitespaces},
    };
    return read_message(c, f, known, COUNT(known));
}

/* One pass that only counts the pieces, so that their table is allocated once. */
static moeq_status count_pieces(struct cursor c, uint32_t *count)
{
    uint64_t bytes = 0;
    *count = 0;
    while (c.at < c.end) {
        struct field f;
        MQ_TRY(read_field(&c, &f));
        if (f.number != 1)
            continue;
        if (f.type != BYTES)
            return fail_at(&c, f.at, "a piece that is no message");
        bytes += f.bytes.size;
        if (++*count > MAX_PIECES || bytes > 2 * MAX_TEXT_BYTES)
            return mq_fail_file(c.err, MOEQ_LIMIT, c.path,
                                "at byte %zu: more than %d pieces, or more than %d bytes of them",
                                f.at, MAX_PIECES, 2 * MAX_TEXT_BYTES);
    }
    return *count ? MOEQ_OK : fail_at(&c, 0, "no pieces");
}

/* ---- what must hold of all pieces ---- */

/* The byte of "<0x0A>"; -1 if it is none. */
static int byte_of(const struct mq_spm_bytes *text)
{
    static const char hex[] = "0123456789ABCDEF";
    if (text->size != 6 || memcmp(text->data, "<0x", 3) != 0 || text->data[5] != '>')
        return -1;
    const char *high = memchr(hex, text->data[3], 16), *low = memchr(hex, text->data[4], 16);
    return high && low ? (int)((high - hex) * 16 + (low - hex)) : -1;
}

/* As sentencepiece demands: one unknown piece, no two of one text, and 256 bytes or none. */
static moeq_status check_pieces(const struct cursor *c, const struct mq_spm_model *m,
                                struct mq_strmap *ids)
{
    bool bytes[256] = {false};
    unsigned byte_count = 0, unknown = 0;
    uint64_t text_bytes = 0;
    for (uint32_t id = 0; id < m->count; id++) {
        const struct mq_spm_piece *p = &m->pieces[id];
        uint32_t other = 0;
        switch (mq_strmap_add(ids, p->text.data, p->text.size, id)) {
        case MQ_STRMAP_NO_MEMORY:
            return mq_fail_memory(c->err, "reading a SentencePiece model");
        case MQ_STRMAP_DUPLICATE:
            mq_strmap_get(ids, p->text.data, p->text.size, &other);
            return mq_fail_file(c->err, MOEQ_MALFORMED, c->path,
                                "pieces %u and %u have the same text '%.*s'", other, id,
                                (int)p->text.size, p->text.data);
        case MQ_STRMAP_ADDED:
            break;
        }
        text_bytes += p->text.size;
        unknown += p->type == MQ_SPM_UNKNOWN;
        if (p->type != MQ_SPM_BYTE)
            continue;
        const int byte = byte_of(&p->text);
        if (byte < 0 || !m->byte_fallback)
            return mq_fail_file(
                c->err, MOEQ_MALFORMED, c->path, "piece %u '%.*s' is of the type BYTE, %s", id,
                (int)p->text.size, p->text.data,
                byte < 0 ? "and no <0x00> to <0xFF>" : "and trainer_spec.byte_fallback is false");
        byte_count += !bytes[byte];
        bytes[byte] = true;
    }
    if (text_bytes > MAX_TEXT_BYTES)
        return mq_fail_file(c->err, MOEQ_LIMIT, c->path,
                            "pieces of %" PRIu64 " bytes in all, more than %d", text_bytes,
                            MAX_TEXT_BYTES);
    if (unknown != 1)
        return mq_fail_file(c->err, MOEQ_MALFORMED, c->path,
                            "%u pieces of the type UNKNOWN, expected one", unknown);
    if (m->byte_fallback && byte_count != 256)
        return mq_fail_file(c->err, MOEQ_MALFORMED, c->path,
                            "trainer_spec.byte_fallback is true, and %u of 256 pieces of the type "
                            "BYTE are there",
                            byte_count);
    return MOEQ_OK;
}

/* ---- all of it ---- */

static moeq_status read_all(struct cursor c, struct mq_spm_model *m)
{
    struct field trainer = {0}, normalizer = {0};
    const struct known known[] = {
        {2, BYTES, "trainer_spec", store_field, &trainer},
        {3, BYTES, "normalizer_spec", store_field, &normalizer},
    };
    const struct field whole = {.start = c.at, .bytes = {.size = c.end - c.at}};
    MQ_TRY(count_pieces(c, &m->count));
    MQ_TRY(read_message(&c, &whole, known, COUNT(known)));
    m->pieces = calloc(m->count, sizeof *m->pieces);
    if (!m->pieces)
        return mq_fail_memory(c.err, "reading a SentencePiece model");
    for (uint32_t id = 0; c.at < c.end;) {
        struct field f;
        MQ_TRY(read_field(&c, &f));
        if (f.number == 1) {
            MQ_TRY(read_piece(&c, &f, id, &m->pieces[id]));
            id++;
        }
    }
    if (trainer.number)
        MQ_TRY(read_trainer(&c, &trainer, m));
    if (normalizer.number)
        MQ_TRY(read_normalizer(&c, &normalizer, m));
    struct mq_strmap ids = {0};
    const moeq_status status = mq_strmap_init(&ids, m->count)
                                   ? check_pieces(&c, m, &ids)
                                   : mq_fail_memory(c.err, "reading a SentencePiece model");
    mq_strmap_free(&ids);
    return status;
}

/* Whether the text is lines of base64, a space and a number, as tiktoken keeps a vocabulary. */
static bool is_tiktoken(const char *bytes, size_t n)
{
    size_t i = 0, digits;
    while (i < n && (memchr("+/=", bytes[i], 3) || (bytes[i] >= '0' && bytes[i] <= '9') ||
                     (bytes[i] >= 'A' && bytes[i] <= 'Z') || (bytes[i] >= 'a' && bytes[i] <= 'z')))
        i++;
    if (!i || i == n || bytes[i++] != ' ')
        return false;
    for (digits = i; i < n && bytes[i] >= '0' && bytes[i] <= '9';)
        i++;
    return i > digits && i < n && (bytes[i] == '\n' || bytes[i] == '\r');
}

/* Says what else is found under the name: of a SentencePiece model the first byte is the tag of its
 * first piece. */
static moeq_status refuse_others(const char *bytes, size_t n, const char *path, moeq_error *err)
{
    struct mq_what what = {.kind = MQ_FILE_UNKNOWN};
    if (n && bytes[0] == '\n')
        return MOEQ_OK;
    mq_what_is(bytes, n < MQ_WHAT_BYTES ? n : MQ_WHAT_BYTES, n, &what);
    if (is_tiktoken(bytes, n))
        return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                            "is a tiktoken vocabulary (lines of base64 and a rank, as Llama 3's "
                            "original/tokenizer.model), which does not say how words are cut: get "
                            "the model's tokenizer.json");
    if (what.kind == MQ_FILE_JSON)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                            "is JSON (as Mistral's tekken.json), no SentencePiece model: get the "
                            "model's tokenizer.json");
    MQ_TRY(mq_refuse_what(path, &what, 0, err));
    return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                        "is no SentencePiece model, which would begin with a piece");
}

moeq_status mq_spm_read(const char *bytes, size_t n, const char *path, struct mq_spm_model *model,
                        moeq_error *err)
{
    *model = (struct mq_spm_model){
        .algorithm = MQ_SPM_UNIGRAM,
        .bos_id = 1,
        .eos_id = 2,
        .add_dummy_prefix = true,
        .remove_extra_whitespaces = true,
        .escape_whitespaces = true,
    };
    MQ_TRY(refuse_others(bytes, n, path, err));
    const struct cursor c = {(const unsigned char *)bytes, 0, n, path, err};
    const moeq_status status = read_all(c, model);
    if (status != MOEQ_OK)
        mq_spm_free(model);
    return status;
}

void mq_spm_free(struct mq_spm_model *model)
{
    free(model->pieces);
    model->pieces = NULL;
    model->count = 0;
}
