/*
 * charsmap.c: the double array, every index and offset checked.
 *
 *   bytes of the map:  trie size in bytes (u32) | units (u32 each) | texts, each ended by NUL
 *
 * A unit of the array, all little-endian (github.com/s-yata/darts-clone):
 *   bit 31       set: a leaf, whose other 31 bits are the value
 *   bits 10..30  the offset of its children, shifted left by 8 where bit 9 is set
 *   bit 8        it has a leaf: an entry ends here
 *   bits 0..7    the label: the byte that leads here
 * The child of unit i by byte b is unit i ^ offset(i) ^ b.
 */
#include "charsmap.h"

#include "base64.h"
#include "error.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

/* Entries of published maps are below 24 bytes. Bounds the walk: a damaged trie may be a circle. */
enum { MAX_ENTRY_BYTES = 128 };

struct mq_charsmap {
    const unsigned char *units;
    uint32_t unit_count;
    const char *texts; /* UTF-8 with NUL bytes, and one at the end */
    size_t texts_size; /* without that one */
};

/* ---- loading ---- */

static uint32_t little_endian(const unsigned char *b)
{
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

moeq_status mq_charsmap_load(struct mq_load *load, const cJSON *json, const char *what,
                             const struct mq_charsmap **map)
{
    const cJSON *item = mq_json_get(json, "precompiled_charsmap");
    struct mq_arena *arena = load->tokenizer->arena;
    *map = NULL;
    if (!cJSON_IsString(item))
        return mq_load_malformed(load, what, "'precompiled_charsmap' is missing or no text");
    const size_t n = strlen(item->valuestring);
    if (!n)
        return MOEQ_OK;
    struct mq_buffer decoded = {0};
    const bool is_base64 = mq_base64_decode(item->valuestring, n, &decoded);
    const size_t size = decoded.size;
    struct mq_charsmap *m = mq_arena_alloc(arena, 1, sizeof *m);
    /* A copy, which ends in a NUL. */
    const unsigned char *bytes =
        decoded.data ? (const unsigned char *)mq_arena_strndup(arena, decoded.data, size) : NULL;
    const bool ok = m && bytes && mq_buffer_ok(&decoded);
    mq_buffer_free(&decoded);
    if (!is_base64)
        return mq_load_malformed(load, what, "'precompiled_charsmap' is not base64");
    if (!ok)
        return mq_fail_memory(load->err, "reading the tokenizer's charsmap");
    if (size < 8 || little_endian(bytes) > size - 4 || little_endian(bytes) % 4 ||
        !little_endian(bytes))
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "%s: a precompiled_charsmap of %zu bytes, whose trie would have %u",
                            what, size, size < 4 ? 0 : little_endian(bytes));
    m->units = bytes + 4;
    m->unit_count = little_endian(bytes) / 4;
    m->texts = (const char *)m->units + (size_t)m->unit_count * 4;
    m->texts_size = size - 4 - (size_t)m->unit_count * 4;
    size_t bad;
    if (!mq_utf8_valid(m->texts, m->texts_size, &bad))
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "%s: precompiled_charsmap at byte %zu: invalid UTF-8", what,
                            4 + (size_t)m->unit_count * 4 + bad);
    *map = m;
    return MOEQ_OK;
}

/* ---- looking up ---- */

static bool unit_at(const struct mq_charsmap *map, uint32_t index, uint32_t *unit)
{
    if (index >= map->unit_count)
        return false;
    *unit = little_endian(map->units + (size_t)index * 4);
    return true;
}

static uint32_t offset_of(uint32_t unit)
{
    return unit >> 10 << ((unit & 1u << 9) >> 6);
}

/* The text at an offset; false if that is outside, or inside a character. */
static bool text_at(const struct mq_charsmap *map, uint32_t offset, struct mq_text *text)
{
    if (offset >= map->texts_size || ((unsigned char)map->texts[offset] & 0xc0) == 0x80)
        return false;
    *text = (struct mq_text){map->texts + offset, strlen(map->texts + offset)};
    return true;
}

/* An entry counts if it ends between characters. An entry whose value leads nowhere is none. */
static size_t look_up(const struct mq_charsmap *map, const char *text, size_t n, bool shortest,
                      struct mq_text *replacement)
{
    size_t found = 0;
    uint32_t index = 0, unit;
    if (!unit_at(map, 0, &unit))
        return 0;
    index ^= offset_of(unit);
    for (size_t i = 0; i < n && i < MAX_ENTRY_BYTES; i++) {
        const unsigned char byte = (unsigned char)text[i];
        index ^= byte;
        if (!unit_at(map, index, &unit) || (unit & (1u << 31 | 0xff)) != byte)
            break;
        index ^= offset_of(unit);
        uint32_t leaf;
        const bool between = i + 1 == n || ((unsigned char)text[i + 1] & 0xc0) != 0x80;
        if (!(unit >> 8 & 1) || (!between && !shortest) || !unit_at(map, index, &leaf) ||
            !text_at(map, leaf & ~(1u << 31), replacement))
            continue;
        found = i + 1;
        if (shortest)
            break;
    }
    return found;
}

size_t mq_charsmap_longest(const struct mq_charsmap *map, const char *text, size_t n,
                           struct mq_text *replacement)
{
    return look_up(map, text, n, false, replacement);
}

size_t mq_charsmap_shortest(const struct mq_charsmap *map, const char *text, size_t n,
                            struct mq_text *replacement)
{
    return look_up(map, text, n, true, replacement);
}
