/*
 * integer_rows.c: rows of integers from where their pieces stand.
 *
 * A band of rows at a time: first what its rows and groups have (scales, zeros), then the codes, some
 * columns at a time, as bytes, which become blocks at once. What stands across its rows (GPTQ, AWQ) is read
 * in runs of the band's width, so a band is as many rows as make that worth a call (rows_at_once).
 *
 * Exactness: scales of f16 or bf16 have at most 11 bits, so their products with an integer of 9 bits are
 * floats, and a bias of -zero * scale loses nothing. f32 scales have no room for that.
 *
 * NVFP4 is f32: its groups of 16 weights are no blocks of integers.
 *
 * Sources: compressed-tensors' pack_to_int32, pack-quantized and naive compressors; MLX's affine_quantize;
 * AutoGPTQ's and GPTQModel's QuantLinear.pack, AutoAWQ's WQLinear_GEMM.
 */
#include "integer_rows.h"

#include "assembly.h"
#include "checked.h"
#include "error.h"
#include "f16.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 32, TILE = 256, WORD = 32, EIGHT = 8 };

/* What a band needs besides codes: of each row and group. */
struct band {
    const struct mq_view *view;
    const struct mq_tensor *t;
    const struct mq_integers *in;
    uint64_t row, count;
    float *scales, *biases; /* [count][groups]; biases NULL: there are zeros */
    int32_t *zeros;
    const uint32_t *places; /* of each column its group; NULL: column / group */
    uint32_t *words;        /* room for what is read of streams */
    uint8_t *codes;         /* [count][TILE] */
    moeq_error *err;
};

static const struct mq_file *file_of(const struct band *b, const struct mq_integer_tensor *at)
{
    return &b->view->files[at->file].file;
}

/* ---- what to read them as ---- */

static bool is_two_bytes(enum mq_dtype dtype)
{
    return dtype == MQ_F16 || dtype == MQ_BF16;
}

enum form { FORM_I4, FORM_I8, FORM_A8, FORM_F32 };
static const struct {
    const char *storage;
    uint32_t block_bytes;
} forms[] = {{"i4_32", 20}, {"i8_32", 36}, {"a8_32", 40}, {"f32", BLOCK * sizeof(float)}};

static enum form form_of(const struct mq_integers *in, uint64_t cols)
{
    const bool fixed = in->zeros_are == MQ_ZEROS_ONE, biased = in->zeros_are == MQ_ZEROS_BIASES;
    if (in->as_floats || cols % BLOCK || in->group % BLOCK || (in->places.name && !in->in_order))
        return FORM_F32;
    if (fixed && in->bits == 4)
        return FORM_I4;
    if (!biased && (in->bits < 8 || fixed))
        return FORM_I8;
    return biased || is_two_bytes(in->scales.dtype) ? FORM_A8 : FORM_F32;
}

void mq_integers_choose(const struct mq_integers *in, struct mq_tensor *t)
{
    const enum form form = form_of(in, t->cols);
    t->storage = forms[form].storage;
    t->row_bytes =
        form == FORM_F32 ? t->cols * sizeof(float) : t->cols / BLOCK * forms[form].block_bytes;
}

uint64_t mq_integers_rows_at_once(const struct mq_integers *in)
{
    return in->order == MQ_INTEGERS_ALONG ? 1 : in->order == MQ_INTEGERS_DOWN ? 512 : 1024;
}

uint64_t mq_integers_row_offset(const struct mq_tensor *t, uint64_t row)
{
    const struct mq_integers *in = t->assembly->integers;
    return in->codes.offset + (in->order == MQ_INTEGERS_ALONG  ? row * in->codes.row_bytes
                               : in->order == MQ_INTEGERS_DOWN ? row * sizeof(uint32_t)
                                                               : row * in->bits / 8);
}

/* ---- scales and zeros ---- */

static float number(enum mq_dtype dtype, const uint8_t *at)
{
    uint16_t half;
    float value;
    if (dtype == MQ_F32) {
        memcpy(&value, at, sizeof value);
        return value;
    }
    if (dtype ==
        MQ_F8_E4M3) { /* its bits are those of a half 2^8 times smaller (quantize/source_blocks.c) */
        half = (uint16_t)((*at & 0x80) << 8 | (*at & 0x7f) << 7);
        return (*at & 0x7f) == 0x7f ? NAN : mq_f16_to_f32(half) * 256;
    }
    memcpy(&half, at, sizeof half);
    return dtype == MQ_F16 ? mq_f16_to_f32(half) : mq_bf16_to_f32(half);
}

static moeq_status fail_number(const struct band *b, const struct mq_integer_tensor *at,
                               uint64_t offset, uint64_t row, uint64_t group, bool zero)
{
    return mq_fail_tensor(b->err, MOEQ_CORRUPT, file_of(b, at)->path, at->name, offset,
                          "the %s of row %" PRIu64 ", columns from %" PRIu64
                          " of '%s': expected a finite number%s",
                          at == &b->in->scales ? "scale" : "bias", row, group * b->in->group,
                          mq_tensor_shown(b->t), zero ? "" : " that is not 0");
}

/* n numbers, which stand at `offset`: of one group the band's rows where scales stand across them,
 * otherwise all groups' row by row. */
static moeq_status put_numbers(const struct band *b, const struct mq_integer_tensor *at,
                               uint64_t offset, const uint8_t *bytes, uint64_t n, uint64_t group,
                               float *to)
{
    const struct mq_integers *in = b->in;
    const uint32_t size = mq_dtype_bytes(at->dtype);
    const bool zero = in->zero_scales || at != &in->scales;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t place = in->scales_across ? i * in->groups + group : i;
        const float value = number(at->dtype, bytes + i * size);
        if (!isfinite(value) || (value == 0 && !zero))
            return fail_number(b, at, offset + i * size, b->row + place / in->groups,
                               place % in->groups, zero);
        to[place] = value;
    }
    return MOEQ_OK;
}

static moeq_status read_numbers(const struct band *b, const struct mq_integer_tensor *at, float *to)
{
    const struct mq_integers *in = b->in;
    const uint64_t size = mq_dtype_bytes(at->dtype);
    const uint64_t rows = in->one_scale ? 1 : b->count;
    const uint64_t n = in->scales_across ? b->count : rows * in->groups;
    uint8_t *bytes = malloc(n * size);
    moeq_status status = bytes ? MOEQ_OK : mq_fail_memory(b->err, "reading scales");
    for (uint64_t g = 0; g < (in->scales_across ? in->groups : 1) && status == MOEQ_OK; g++) {
        const uint64_t first = in->scales_across ? g * at->row_bytes + b->row * size
                               : in->one_scale   ? 0
                                                 : b->row * at->row_bytes;
        status = mq_file_read_at(file_of(b, at), at->offset + first, bytes, n * size, b->err);
        if (status == MOEQ_OK)
            status = put_numbers(b, at, at->offset + first, bytes, n, g, to);
    }
    for (uint64_t r = 1; in->one_scale && status == MOEQ_OK && r < b->count; r++)
        memcpy(to + r * in->groups, to, in->groups * sizeof *to);
    free(bytes);
    return status;
}

/* Value i of a stream of words that stand `step` words apart. */
static uint32_t value_at(const uint32_t *words, uint64_t step, uint32_t bits, uint64_t i)
{
    const uint64_t at = i * bits, shift = at % WORD;
    uint64_t both = words[at / WORD * step];
    if (shift + bits > WORD)
        both |= (uint64_t)words[(at / WORD + 1) * step] << WORD;
    return (uint32_t)(both >> shift) & ((1u << bits) - 1);
}

/* Of each eight of AWQ's: where output 0, 1, ... stands among the nibbles, which hold outputs
 * 0, 2, 4, 6, 1, 3, 5, 7. */
static uint64_t place_in_eight(uint64_t i)
{
    static const uint8_t places[EIGHT] = {0, 4, 1, 5, 2, 6, 3, 7};
    return i / EIGHT * EIGHT + places[i % EIGHT];
}

/* The words that a stream's values [first, first + n) are in, with AWQ's whole eights. */
struct run {
    uint64_t word, words, skip; /* skip: values of the first word on that are not wanted */
};

static struct run run_of(const struct mq_integers *in, uint64_t first, uint64_t n)
{
    const uint64_t a = in->order == MQ_INTEGERS_ACROSS ? first / EIGHT * EIGHT : first;
    const uint64_t e = first + n, end = in->order == MQ_INTEGERS_ACROSS ? (e + 7) / 8 * 8 : e;
    struct run run = {.word = a * in->bits / WORD};
    /* so that value `skip` of the words is a: back to a word that begins with a value */
    while (run.word * WORD % in->bits)
        run.word--;
    run.words = (end * in->bits + WORD - 1) / WORD - run.word;
    run.skip = first - run.word * WORD / in->bits;
    return run;
}

static void put_zero(const struct band *b, uint64_t r, uint64_t g, uint32_t stored)
{
    const struct mq_integers *in = b->in;
    b->zeros[r * in->groups + g] = (int32_t)((stored + in->zeros_plus) & ((1u << in->bits) - 1));
}

static moeq_status read_zeros_down(const struct band *b)
{
    const struct mq_integers *in = b->in;
    const struct run run = run_of(in, b->row, b->count);
    MQ_TRY(mq_file_read_at(file_of(b, &in->zeros), in->zeros.offset + run.word * in->groups * 4,
                           b->words, run.words * in->groups * 4, b->err));
    for (uint64_t r = 0; r < b->count; r++)
        for (uint64_t g = 0; g < in->groups; g++)
            put_zero(b, r, g, value_at(b->words + g, in->groups, in->bits, run.skip + r));
    return MOEQ_OK;
}

static moeq_status read_zeros_across(const struct band *b)
{
    const struct mq_integers *in = b->in;
    const struct run run = run_of(in, b->row, b->count);
    const bool eights = in->order == MQ_INTEGERS_ACROSS;
    for (uint64_t g = 0; g < in->groups; g++) {
        MQ_TRY(mq_file_read_at(file_of(b, &in->zeros),
                               in->zeros.offset + g * in->zeros.row_bytes + run.word * 4, b->words,
                               run.words * 4, b->err));
        for (uint64_t r = 0; r < b->count; r++) {
            const uint64_t i = run.skip + r;
            put_zero(b, r, g, value_at(b->words, 1, in->bits, eights ? place_in_eight(i) : i));
        }
    }
    return MOEQ_OK;
}

static moeq_status read_zero_bytes(const struct band *b)
{
    const struct mq_integers *in = b->in;
    const uint64_t n = (in->one_scale ? 1 : b->count) * in->groups;
    int8_t *bytes = (int8_t *)b->words;
    MQ_TRY(mq_file_read_at(file_of(b, &in->zeros),
                           in->zeros.offset + (in->one_scale ? 0 : b->row * in->groups), bytes, n,
                           b->err));
    for (uint64_t i = 0; i < b->count * in->groups; i++)
        b->zeros[i] = bytes[i % n] + in->zero;
    return MOEQ_OK;
}

static moeq_status read_zeros(const struct band *b)
{
    const struct mq_integers *in = b->in;
    switch (in->zeros_are) {
    case MQ_ZEROS_DOWN:
        return read_zeros_down(b);
    case MQ_ZEROS_ACROSS:
        return read_zeros_across(b);
    case MQ_ZEROS_BYTES:
        return read_zero_bytes(b);
    case MQ_ZEROS_BIASES:
        return read_numbers(b, &in->zeros, b->biases);
    case MQ_ZEROS_ONE:
        for (uint64_t i = 0; i < b->count * in->groups; i++)
            b->zeros[i] = in->zero;
    }
    return MOEQ_OK;
}

/* ---- the order of columns ---- */

/* Where config.json says nothing of an order, column / group is all that there may be; all -1 stands for
 * it too (compressed-tensors, before weights are put in order). */
static moeq_status read_places(struct band *b, uint32_t *to)
{
    const struct mq_integers *in = b->in;
    const struct mq_integer_tensor *at = &in->places;
    MQ_TRY(mq_file_read_at(file_of(b, at), at->offset, to, b->t->cols * sizeof *to, b->err));
    const bool none = to[0] == UINT32_MAX;
    for (uint64_t c = 0; c < b->t->cols; c++) {
        if (none && to[c] == UINT32_MAX)
            to[c] = (uint32_t)(c / in->group);
        if (in->in_order ? to[c] != c / in->group : to[c] >= in->groups)
            return mq_fail_tensor(
                b->err, MOEQ_CORRUPT, file_of(b, at)->path, at->name, at->offset + c * sizeof *to,
                "column %" PRIu64 " is of group %" PRId32 ": expected %s%" PRIu64 "%s", c,
                (int32_t)to[c], in->in_order ? "" : "a group below ",
                in->in_order ? c / in->group : in->groups,
                in->in_order ? ", as config.json says that \"desc_act\" is false" : "");
    }
    b->places = in->in_order ? NULL : to;
    return MOEQ_OK;
}

/* ---- codes ---- */

/* n values of a stream that begins at a byte; 8 bytes may be read behind it. */
static void unpack_along(const uint8_t *in, uint32_t bits, uint64_t n, uint8_t *codes)
{
    const uint32_t mask = (1u << bits) - 1;
    for (uint64_t i = 0; i < n; i++) {
        uint16_t both;
        memcpy(&both, in + i * bits / 8, sizeof both);
        codes[i] = (uint8_t)(both >> i * bits % 8 & mask);
    }
}

/* n values of a stream of words that stand `step` words apart. */
static void unpack_down(const uint32_t *words, uint64_t step, uint32_t bits, uint64_t n,
                        uint8_t *codes)
{
    const uint32_t mask = (1u << bits) - 1, each = WORD / bits;
    if (WORD % bits) {
        for (uint64_t i = 0; i < n; i++)
            codes[i] = (uint8_t)value_at(words, step, bits, i);
        return;
    }
    for (uint64_t i = 0; i < n; i += each, words += step) {
        uint32_t word = *words;
        for (uint64_t k = 0; k < each && i + k < n; k++, word >>= bits)
            codes[i + k] = (uint8_t)(word & mask);
    }
}

/* All of a band whose rows are streams, before its columns are asked for. */
static moeq_status read_along(const struct band *b)
{
    const struct mq_integer_tensor *codes = &b->in->codes;
    return mq_file_read_at(file_of(b, codes), codes->offset + b->row * codes->row_bytes, b->words,
                           b->count * codes->row_bytes, b->err);
}

static moeq_status read_down(const struct band *b, uint64_t c, uint64_t n)
{
    const struct mq_integers *in = b->in;
    const uint64_t word = c * in->bits / WORD, words = (n * in->bits + WORD - 1) / WORD;
    for (uint64_t w = 0; w < words; w++)
        MQ_TRY(mq_file_read_at(file_of(b, &in->codes),
                               in->codes.offset + (word + w) * in->codes.row_bytes + b->row * 4,
                               b->words + w * b->count, b->count * 4, b->err));
    for (uint64_t r = 0; r < b->count; r++)
        unpack_down(b->words + r, b->count, in->bits, n, b->codes + r * TILE);
    return MOEQ_OK;
}

static moeq_status read_across(const struct band *b, uint64_t c, uint64_t n)
{
    const struct mq_integers *in = b->in;
    const struct run run = run_of(in, b->row, b->count);
    for (uint64_t i = 0; i < n; i++) {
        MQ_TRY(mq_file_read_at(file_of(b, &in->codes),
                               in->codes.offset + (c + i) * in->codes.row_bytes + run.word * 4,
                               b->words, run.words * 4, b->err));
        for (uint64_t r = 0; r < b->count; r++)
            b->codes[r * TILE + i] =
                (uint8_t)value_at(b->words, 1, in->bits, place_in_eight(run.skip + r));
    }
    return MOEQ_OK;
}

/* Columns [c, c + n) of all rows, into codes[row][TILE]; c is a multiple of TILE. */
static moeq_status read_codes(const struct band *b, uint64_t c, uint64_t n)
{
    const struct mq_integers *in = b->in;
    if (in->order != MQ_INTEGERS_ALONG)
        return in->order == MQ_INTEGERS_DOWN ? read_down(b, c, n) : read_across(b, c, n);
    const uint8_t *first = (const uint8_t *)b->words + c * in->bits / 8;
    for (uint64_t r = 0; r < b->count; r++)
        unpack_along(first + r * in->codes.row_bytes, in->bits, n, b->codes + r * TILE);
    /* signed bytes as unsigned ones, 128 higher */
    for (uint64_t i = 0; in->is_signed && i < b->count * TILE; i++)
        b->codes[i] ^= 0x80;
    return MOEQ_OK;
}

/* Words that a band reads at once, of codes or zeros. */
static uint64_t words_of(const struct mq_integers *in, uint64_t count)
{
    const uint64_t codes = in->order == MQ_INTEGERS_ALONG  ? count * in->codes.row_bytes / 4 + 3
                           : in->order == MQ_INTEGERS_DOWN ? (TILE * in->bits / WORD + 1) * count
                                                           : 0;
    const uint64_t across = (count + 2 * WORD) * in->bits / WORD + 2; /* the most that a run has */
    const uint64_t zeros = in->zeros_are == MQ_ZEROS_DOWN    ? across * in->groups
                           : in->zeros_are == MQ_ZEROS_BYTES ? count * in->groups / 4 + 1
                                                             : across;
    return mq_max_u64(codes, zeros);
}

/* ---- blocks ---- */

/* The float of a row's column: rounded once. */
static float weight_of(const struct band *b, uint64_t r, uint64_t c, uint8_t code)
{
    static const int8_t doubled_e2m1[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};
    const uint64_t g = b->places ? b->places[c] : c / b->in->group, at = r * b->in->groups + g;
    if (b->in->is_fp4)
        return b->scales[at] * (float)doubled_e2m1[code];
    return b->biases ? fmaf(b->scales[at], code, b->biases[at])
                     : b->scales[at] * (float)(code - b->zeros[at]);
}

static void put_block(const struct band *b, enum form form, uint64_t r, uint64_t c,
                      const uint8_t codes[BLOCK], uint8_t *to)
{
    const uint64_t at = r * b->in->groups + c / b->in->group;
    const float scale = b->scales[at];
    const int32_t zero = b->zeros ? b->zeros[at] : 0;
    memcpy(to, &scale, sizeof scale);
    to += sizeof scale;
    if (form == FORM_A8) {
        const float bias = b->biases ? b->biases[at] : -(float)zero * scale;
        memcpy(to, &bias, sizeof bias);
        memcpy(to + sizeof bias, codes, BLOCK);
    } else if (form == FORM_I8)
        for (int i = 0; i < BLOCK; i++)
            to[i] = (uint8_t)(codes[i] - zero + 128);
    else
        for (int i = 0; i < BLOCK / 2; i++)
            to[i] = (uint8_t)(codes[i] | codes[i + BLOCK / 2] << 4);
}

static void put_tile(const struct band *b, enum form form, uint64_t c, uint64_t n, uint8_t *bytes)
{
    for (uint64_t r = 0; r < b->count; r++) {
        uint8_t *row = bytes + r * b->t->row_bytes;
        const uint8_t *codes = b->codes + r * TILE;
        if (form != FORM_F32)
            for (uint64_t i = 0; i < n; i += BLOCK)
                put_block(b, form, r, c + i, codes + i,
                          row + (c + i) / BLOCK * forms[form].block_bytes);
        else
            for (uint64_t i = 0; i < n; i++) {
                const float weight = weight_of(b, r, c + i, codes[i]);
                memcpy(row + (c + i) * sizeof weight, &weight, sizeof weight);
            }
    }
}

/* Scales become what a code's number, doubled, is multiplied by. */
static moeq_status divide_by_whole(const struct band *b)
{
    const struct mq_integer_tensor *at = &b->in->whole;
    float whole;
    MQ_TRY(mq_file_read_at(file_of(b, at), at->offset, &whole, sizeof whole, b->err));
    if (!isfinite(whole) || whole == 0)
        return mq_fail_tensor(b->err, MOEQ_CORRUPT, file_of(b, at)->path, at->name, at->offset,
                              "the scale of '%s': expected a finite number that is not 0",
                              mq_tensor_shown(b->t));
    for (uint64_t i = 0; i < b->count * b->in->groups; i++)
        b->scales[i] = b->scales[i] / whole * 0.5f;
    return MOEQ_OK;
}

/* What compressed-tensors writes beside codes must be the rows and columns of the matrix. */
static moeq_status check_shape(const struct band *b)
{
    const struct mq_integer_tensor *at = &b->in->shape;
    const uint64_t want[2] = {b->t->rows, b->t->cols};
    int64_t have[2] = {0};
    int32_t narrow[2] = {0};
    const bool wide = at->dtype == MQ_I64;
    MQ_TRY(mq_file_read_at(file_of(b, at), at->offset, wide ? (void *)have : narrow,
                           wide ? sizeof have : sizeof narrow, b->err));
    for (int i = 0; i < 2; i++) {
        have[i] = wide ? have[i] : narrow[i];
        if (have[i] < 0 || (uint64_t)have[i] != want[i])
            return mq_fail_tensor(b->err, MOEQ_CORRUPT, file_of(b, at)->path, at->name, at->offset,
                                  "its numbers are those of a matrix [%" PRId64 ", %" PRId64
                                  "]: expected [%" PRIu64 ", %" PRIu64 "], as config.json says",
                                  have[0], wide ? have[1] : narrow[1], want[0], want[1]);
    }
    return MOEQ_OK;
}

static moeq_status read_band(struct band *b, uint32_t *places, uint8_t *bytes)
{
    const struct mq_integers *in = b->in;
    const enum form form = form_of(in, b->t->cols);
    if (in->shape.name && b->row == 0)
        MQ_TRY(check_shape(b));
    if (places)
        MQ_TRY(read_places(b, places));
    MQ_TRY(read_numbers(b, &in->scales, b->scales));
    MQ_TRY(read_zeros(b));
    if (in->is_fp4)
        MQ_TRY(divide_by_whole(b));
    if (in->order == MQ_INTEGERS_ALONG) /* in the room that zeros were read to */
        MQ_TRY(read_along(b));
    for (uint64_t c = 0; c < b->t->cols; c += TILE) {
        const uint64_t n = mq_min_u64(TILE, b->t->cols - c);
        MQ_TRY(read_codes(b, c, n));
        put_tile(b, form, c, n, bytes);
    }
    return MOEQ_OK;
}

moeq_status mq_integers_read(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                             uint64_t count, void *bytes, moeq_error *err)
{
    const struct mq_integers *in = t->assembly->integers;
    const bool biased = in->zeros_are == MQ_ZEROS_BIASES;
    const uint64_t most = mq_min_u64(mq_max_u64(mq_integers_rows_at_once(in), 16), count);
    const uint64_t numbers = most * in->groups;
    struct band b = {.view = v, .t = t, .in = in, .err = err};
    float *floats = malloc(numbers * 2 * sizeof *floats);
    uint32_t *places = in->places.name ? malloc(t->cols * sizeof *places) : NULL;
    b.words = calloc(words_of(in, most), sizeof *b.words);
    b.codes = calloc(most, TILE);
    moeq_status status = floats && b.words && b.codes && (places || !in->places.name)
                             ? MOEQ_OK
                             : mq_fail_memory(err, "reading quantized weights");
    b.scales = floats;
    if (floats && biased)
        b.biases = floats + numbers;
    else if (floats)
        b.zeros = (int32_t *)(floats + numbers);
    for (uint64_t r = 0; r < count && status == MOEQ_OK; r += most) {
        b.row = row + r;
        b.count = mq_min_u64(most, count - r);
        status = read_band(&b, places, (uint8_t *)bytes + r * t->row_bytes);
    }
    free(floats);
    free(places);
    free(b.words);
    free(b.codes);
    return status;
}

void mq_integers_prefetch(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                          uint64_t count)
{
    const struct mq_integers *in = t->assembly->integers;
    const struct mq_file *codes = &v->files[in->codes.file].file;
    if (in->order != MQ_INTEGERS_ALONG) { /* a piece of each row of words: all are wanted soon */
        const uint64_t rows = in->order == MQ_INTEGERS_DOWN ? t->cols * in->bits / WORD : t->cols;
        mq_file_prefetch(codes, in->codes.offset, rows * in->codes.row_bytes);
        return;
    }
    mq_file_prefetch(codes, in->codes.offset + row * in->codes.row_bytes,
                     count * in->codes.row_bytes);
    if (!in->one_scale)
        mq_file_prefetch(&v->files[in->scales.file].file,
                         in->scales.offset + row * in->scales.row_bytes,
                         count * in->scales.row_bytes);
}
