/*
 * iq_parts.c: blocks of GGML's IQ2 and IQ3 types taken apart and put together: numbers of entries in a codebook, signs
 * and scales are fields of bits at regular places (iq_blocks.c has the layouts).
 */
#include "iq_parts_int.h"

#include "f16.h"
#include "iq_grids.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 8 }; /* of weights, whose signs lie together */

/* Field i begins at bit base + i / 4 * four + i % 4 * one, counted from the lowest bit of the block's first byte. */
struct field {
    uint16_t base, four, one, width;
};

struct layout {
    struct field low, high; /* of the number of an entry */
    struct field signs, scales;
};

/* clang-format off */
static const struct layout iq2_xxs = {{ 16, 64,  8, 8}, {  0, 0, 0, 0}, { 48, 64, 7, 7}, { 76, 256, 64, 4}};
static const struct layout iq2_xs  = {{ 16, 64, 16, 9}, {  0, 0, 0, 0}, { 25, 64, 16, 7}, {528,  16,  4, 4}};
static const struct layout iq2_s   = {{ 16, 32,  8, 8}, {528, 8, 2, 2}, {272, 32, 8, 8}, {592,  16,  4, 4}};
static const struct layout iq3_xxs = {{ 16, 32,  8, 8}, {  0, 0, 0, 0}, {528, 32, 7, 7}, {556, 128, 32, 4}};
static const struct layout iq3_s   = {{ 16, 32,  8, 8}, {528, 4, 1, 1}, {592, 32, 8, 8}, {848,  16,  4, 4}};

const struct mq_code_grid mq_iq2_xxs_codes = { 256, 8, true,  mq_iq2_xxs_grid, NULL};
const struct mq_code_grid mq_iq2_xs_codes  = { 512, 8, true,  mq_iq2_xs_grid,  NULL};
const struct mq_code_grid mq_iq2_s_codes   = {1024, 8, false, mq_iq2_s_grid,   NULL};
const struct mq_code_grid mq_iq3_xxs_codes = { 256, 4, true,  NULL, mq_iq3_xxs_grid};
const struct mq_code_grid mq_iq3_s_codes   = { 512, 4, false, NULL, mq_iq3_s_grid};
/* clang-format on */

uint64_t mq_code_grid_entry(const struct mq_code_grid *grid, unsigned i)
{
    return grid->of_8 ? grid->of_8[i] : grid->of_4[i];
}

static unsigned get(const uint8_t *block, const struct field *f, unsigned i)
{
    unsigned bit = f->base + i / 4 * f->four + i % 4 * f->one, value = 0;
    for (unsigned k = 0; k < f->width; k++, bit++)
        value |= (unsigned)(block[bit / 8] >> bit % 8 & 1) << k;
    return value;
}

/* Into bits that are 0. */
static void put(uint8_t *block, const struct field *f, unsigned i, unsigned value)
{
    unsigned bit = f->base + i / 4 * f->four + i % 4 * f->one;
    for (unsigned k = 0; k < f->width; k++, bit++)
        block[bit / 8] |= (uint8_t)((value >> k & 1) << bit % 8);
}

/* Of the eighth weight where seven have a bit: it makes the number of minus signs even. */
static unsigned all_signs(unsigned seven)
{
    return seven | (unsigned)__builtin_parity(seven) << 7;
}

static void read_parts(const uint8_t *block, const struct layout *l,
                       const struct mq_code_grid *grid, unsigned subs, struct mq_block_parts *parts)
{
    const unsigned n = grid->columns;
    uint16_t d;
    memcpy(&d, block, sizeof d);
    *parts = (struct mq_block_parts){.d = mq_f16_to_f32(d)};
    for (unsigned i = 0; i < subs; i++)
        parts->s[i] = (int16_t)get(block, &l->scales, i);
    for (unsigned i = 0; i < MQ_PARTS_WEIGHTS / n; i++) {
        const unsigned entry = get(block, &l->low, i) | get(block, &l->high, i) << l->low.width;
        const uint64_t magnitudes = mq_code_grid_entry(grid, entry);
        for (unsigned k = 0; k < n; k++)
            parts->codes[n * i + k] = (int8_t)(magnitudes >> 8 * k & 127);
    }
    for (unsigned i = 0; i < MQ_PARTS_WEIGHTS / GROUP; i++) {
        const unsigned stored = get(block, &l->signs, i);
        const unsigned signs = grid->even_signs ? all_signs(stored) : stored;
        for (unsigned k = 0; k < GROUP; k++)
            if (signs >> k & 1)
                parts->codes[GROUP * i + k] = (int8_t)-parts->codes[GROUP * i + k];
    }
}

/* Entries ascend (a test checks it). */
static unsigned find_entry(const struct mq_code_grid *grid, uint64_t magnitudes)
{
    unsigned low = 0, high = grid->entries - 1u;
    while (low < high) {
        const unsigned middle = (low + high) / 2;
        if (mq_code_grid_entry(grid, middle) < magnitudes)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void write_parts(const struct mq_block_parts *parts, const struct layout *l,
                        const struct mq_code_grid *grid, unsigned subs, unsigned bytes,
                        uint8_t *block)
{
    const unsigned n = grid->columns;
    const uint16_t d = mq_f32_to_f16(parts->d);
    memset(block, 0, bytes);
    memcpy(block, &d, sizeof d);
    for (unsigned i = 0; i < subs; i++)
        put(block, &l->scales, i, (unsigned)parts->s[i]);
    for (unsigned i = 0; i < MQ_PARTS_WEIGHTS / n; i++) {
        uint64_t magnitudes = 0;
        for (unsigned k = 0; k < n; k++)
            magnitudes |= (uint64_t)abs(parts->codes[n * i + k]) << 8 * k;
        const unsigned entry = find_entry(grid, magnitudes);
        put(block, &l->low, i, entry);
        put(block, &l->high, i, entry >> l->low.width);
    }
    for (unsigned i = 0; i < MQ_PARTS_WEIGHTS / GROUP; i++) {
        unsigned signs = 0;
        for (unsigned k = 0; k < GROUP; k++)
            signs |= (unsigned)(parts->codes[GROUP * i + k] < 0) << k;
        put(block, &l->signs, i, signs);
    }
}

#define TYPE(type, subs, bytes)                                                      \
    void mq_##type##_read_parts(const uint8_t *block, struct mq_block_parts *parts)  \
    {                                                                                \
        read_parts(block, &type, &mq_##type##_codes, subs, parts);                   \
    }                                                                                \
    void mq_##type##_write_parts(const struct mq_block_parts *parts, uint8_t *block) \
    {                                                                                \
        write_parts(parts, &type, &mq_##type##_codes, subs, bytes, block);           \
    }
TYPE(iq2_xxs, 8, 66)
TYPE(iq2_xs, 16, 74)
TYPE(iq2_s, 16, 82)
TYPE(iq3_xxs, 8, 98)
TYPE(iq3_s, 8, 110)
