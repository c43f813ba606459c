/*
 * mutate_gguf.c: changes to the tables of a GGUF file (gguf.h draws them): counts and the padding
 * in front of the data stay right, but for some of the time.
 */
#include "mutate.h"

#include "gguf_names.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD = 24, MAX_ITEMS = 512, MAX_EDITS = 5, MAX_NESTING = 8, TYPES = 44 };
enum { TENSORS_AT = 8, KEYS_AT = 16, ALIGNMENT = 32 };

struct item {
    size_t at, body, end; /* body: behind the name */
};

struct map {
    struct item keys[MAX_ITEMS], tensors[MAX_ITEMS];
    uint32_t keys_count, tensors_count;
    size_t infos_end, data; /* data: with the padding gone, by the file's alignment */
};

/* ---- reading ---- */

static uint64_t load(const uint8_t *p, uint32_t n)
{
    uint64_t x = 0;
    while (n--)
        x = x << 8 | p[n];
    return x;
}

static void store(uint8_t *p, uint32_t n, uint64_t x)
{
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

static bool skip(size_t *at, uint64_t n, size_t size)
{
    if (n > size - *at)
        return false;
    *at += n;
    return true;
}

static bool skip_string(const uint8_t *data, size_t *at, size_t size)
{
    const size_t start = *at;
    return skip(at, 8, size) && skip(at, load(data + start, 8), size);
}

static uint32_t fixed_bytes(uint64_t type)
{
    static const uint8_t bytes[MQ_GGUF_VALUE_TYPES] = {
        [MQ_GGUF_U8] = 1,  [MQ_GGUF_I8] = 1,  [MQ_GGUF_U16] = 2, [MQ_GGUF_I16] = 2,
        [MQ_GGUF_U32] = 4, [MQ_GGUF_I32] = 4, [MQ_GGUF_F32] = 4, [MQ_GGUF_BOOL] = 1,
        [MQ_GGUF_U64] = 8, [MQ_GGUF_I64] = 8, [MQ_GGUF_F64] = 8};
    return type < MQ_GGUF_VALUE_TYPES ? bytes[type] : 0;
}

static bool skip_value(const uint8_t *data, size_t *at, size_t size, uint64_t type, int nesting)
{
    const size_t start = *at;
    if (type == MQ_GGUF_STRING)
        return skip_string(data, at, size);
    if (type != MQ_GGUF_ARRAY)
        return fixed_bytes(type) && skip(at, fixed_bytes(type), size);
    if (nesting == MAX_NESTING || !skip(at, 12, size))
        return false;
    const uint64_t element = load(data + start, 4), count = load(data + start + 4, 8);
    if (fixed_bytes(element))
        return count < size && skip(at, count * fixed_bytes(element), size);
    for (uint64_t i = 0; i < count; i++)
        if (!skip_value(data, at, size, element, nesting + 1))
            return false;
    return true;
}

static bool read_key(const uint8_t *data, size_t *at, size_t size, struct item *key)
{
    key->at = *at;
    if (!skip_string(data, at, size))
        return false;
    key->body = *at;
    if (!skip(at, 4, size) || !skip_value(data, at, size, load(data + key->body, 4), 0))
        return false;
    key->end = *at;
    return true;
}

static bool read_tensor(const uint8_t *data, size_t *at, size_t size, struct item *t)
{
    t->at = *at;
    if (!skip_string(data, at, size))
        return false;
    t->body = *at;
    if (!skip(at, 4, size) || load(data + t->body, 4) > 16 ||
        !skip(at, 8 * load(data + t->body, 4) + 12, size))
        return false;
    t->end = *at;
    return true;
}

static size_t alignment(const uint8_t *data, const struct map *map)
{
    static const char name[] = "general.alignment";
    for (uint32_t i = 0; i < map->keys_count; i++) {
        const struct item *key = &map->keys[i];
        if (key->body - key->at != 8 + sizeof name - 1 || key->end != key->body + 8 ||
            memcmp(data + key->at + 8, name, sizeof name - 1) != 0)
            continue;
        const uint64_t value = load(data + key->body + 4, 4);
        if (value && value < 4096)
            return value;
    }
    return ALIGNMENT;
}

/* False: the tables are not whole. */
static bool read_map(const uint8_t *data, size_t size, struct map *map)
{
    size_t at = HEAD;
    if (size < HEAD)
        return false;
    const uint64_t tensors = load(data + TENSORS_AT, 8), keys = load(data + KEYS_AT, 8);
    if (keys > MAX_ITEMS || tensors > MAX_ITEMS)
        return false;
    for (map->keys_count = 0; map->keys_count < keys; map->keys_count++)
        if (!read_key(data, &at, size, &map->keys[map->keys_count]))
            return false;
    for (map->tensors_count = 0; map->tensors_count < tensors; map->tensors_count++)
        if (!read_tensor(data, &at, size, &map->tensors[map->tensors_count]))
            return false;
    const size_t align = alignment(data, map), data_at = (at + align - 1) / align * align;
    map->infos_end = at;
    map->data = data_at < size ? data_at : size;
    return true;
}

/* ---- changes ---- */

struct edit {
    struct mutant *m;
    const struct map *map;
    const uint8_t *other;
    const struct map *other_map; /* NULL: no other file */
};

static const struct item *any(struct mutant *m, const struct item *items, uint32_t count)
{
    return &items[mutate_below(m, count)];
}

static void count_up(struct mutant *m, size_t at, int64_t by)
{
    store(m->data + at, 8, load(m->data + at, 8) + (uint64_t)by);
}

/* A string's new content, with its length. */
static void put_string(struct mutant *m, size_t at, const void *bytes, size_t n)
{
    const size_t old = load(m->data + at, 8);
    if (mutate_splice(m, at + 8, at + 8 + old, bytes, n))
        store(m->data + at, 8, n);
}

static void change_string(const struct edit *e, size_t at)
{
    static const char *const odd[] = {
        "",      "\xff", "\xc0\x80", "\xed\xa0\x80", "a\nb", "\xe2\x96\x81", "<0x41>", "<0xGG>",
        "llama", "gpt2", "t5",       "\xc4\xa0",     "a b",  "%s%n",         "a/../b"};
    struct mutant *m = e->m;
    const size_t n = load(m->data + at, 8);
    const struct item *key = any(m, e->map->keys, e->map->keys_count);
    const char *const text = odd[mutate_below(m, sizeof odd / sizeof *odd)];
    char run[300];
    switch (mutate_below(m, 6)) {
    case 0:
        put_string(m, at, text, strlen(text));
        break;
    case 1: /* a key's name */
        if (e->map->keys_count)
            put_string(m, at, m->data + key->at + 8, key->body - key->at - 8);
        break;
    case 2:
        memset(run, 'a', sizeof run);
        put_string(m, at, run, mutate_below(m, sizeof run));
        break;
    case 3:
        store(m->data + at, 8, mutate_edge(m));
        break; /* its length is wrong */
    case 4:
        put_string(m, at, m->data + at + 8, mutate_below(m, (uint32_t)n + 1));
        break;
    default: {
        const size_t size = m->size;
        mutate_bytes(m, at + 8, at + 8 + n);
        store(m->data + at, 8, n + m->size - size);
    }
    }
}

static void change_number(struct mutant *m, size_t at, uint32_t bytes)
{
    const uint64_t old = load(m->data + at, bytes);
    if (mutate_chance(m, 3))
        store(m->data + at, bytes, mutate_edge(m));
    else if (mutate_chance(m, 2))
        store(m->data + at, bytes, old + mutate_below(m, 5) - 2);
    else
        mutate_bytes_in_place(m, at, at + bytes);
}

/* An element of an array is changed, taken out or doubled, or the array says another size or type. */
static void change_array(const struct edit *e, size_t at)
{
    struct mutant *m = e->m;
    const uint64_t element = load(m->data + at, 4), count = load(m->data + at + 4, 8);
    size_t first = at + 12, end;
    for (uint32_t i = mutate_below(m, (uint32_t)count); i; i--)
        if (!skip_value(m->data, &first, m->size, element, 0))
            return;
    end = first;
    if (count && !skip_value(m->data, &end, m->size, element, 0))
        return;
    switch (mutate_below(m, 8)) {
    case 0:
        store(m->data + at, 4, mutate_below(m, MQ_GGUF_VALUE_TYPES + 1));
        break;
    case 1:
        store(m->data + at + 4, 8, count + mutate_below(m, 3) - 1);
        break;
    case 2:
        store(m->data + at + 4, 8, mutate_edge(m));
        break;
    case 3:
        if (count && mutate_splice(m, first, end, NULL, 0))
            store(m->data + at + 4, 8, count - 1);
        break;
    case 4: {
        const struct item copy = {.at = first, .end = end};
        uint64_t more = mutate_chance(m, 4) ? mutate_below(m, 200) : 1;
        for (uint64_t now = count; count && more; more--)
            if (mutate_splice(m, first, first, m->data + copy.at, copy.end - copy.at))
                store(m->data + at + 4, 8, ++now);
        break;
    }
    default:
        if (count && element == MQ_GGUF_STRING)
            change_string(e, first);
        else if (count)
            change_number(m, first, fixed_bytes(element));
    }
}

static void change_value(const struct edit *e)
{
    struct mutant *m = e->m;
    const struct item *key = any(m, e->map->keys, e->map->keys_count);
    const uint64_t type = load(m->data + key->body, 4);
    const size_t value = key->body + 4;
    if (type == MQ_GGUF_STRING)
        change_string(e, value);
    else if (type == MQ_GGUF_ARRAY)
        change_array(e, value);
    else
        change_number(m, value, fixed_bytes(type));
}

/* The value gets another type: its bytes are what a value of that type has, or stay. */
static void change_type(const struct edit *e)
{
    struct mutant *m = e->m;
    const struct item *key = any(m, e->map->keys, e->map->keys_count);
    const uint64_t type = mutate_below(m, MQ_GGUF_VALUE_TYPES + 1);
    uint8_t value[24] = {0};
    size_t n = fixed_bytes(type);
    if (type == MQ_GGUF_STRING)
        n = 8;
    else if (type == MQ_GGUF_ARRAY)
        n = 12, value[0] = (uint8_t)mutate_below(m, MQ_GGUF_VALUE_TYPES);
    else
        store(value, 8, mutate_below(m, 40));
    if (mutate_chance(m, 6) || mutate_splice(m, key->body + 4, key->end, value, n))
        store(m->data + key->body, 4, type);
}

static void change_name(const struct edit *e)
{
    struct mutant *m = e->m;
    const uint32_t all = e->map->keys_count + e->map->tensors_count, i = mutate_below(m, all);
    change_string(e, i < e->map->keys_count ? e->map->keys[i].at
                                            : e->map->tensors[i - e->map->keys_count].at);
}

/* Dimensions, type or place of a tensor. */
static void change_tensor(const struct edit *e)
{
    struct mutant *m = e->m;
    const struct item *t = any(m, e->map->tensors, e->map->tensors_count);
    const struct item *from = any(m, e->map->tensors, e->map->tensors_count);
    const uint32_t dims = (uint32_t)load(m->data + t->body, 4);
    const size_t sizes = t->body + 4, type = t->end - 12, offset = t->end - 8;
    switch (mutate_below(m, 7)) {
    case 0:
        store(m->data + t->body, 4, mutate_below(m, 6));
        break;
    case 1:
        if (dims)
            change_number(m, sizes + 8 * mutate_below(m, dims), 8);
        break;
    case 2: /* one dimension more, which changes no size, or one less */
        if (mutate_chance(m, 2) && mutate_splice(m, type, type, "\1\0\0\0\0\0\0", 8))
            store(m->data + t->body, 4, dims + 1);
        else if (dims && mutate_splice(m, type - 8, type, NULL, 0))
            store(m->data + t->body, 4, dims - 1);
        break;
    case 3:
        store(m->data + type, 4, mutate_below(m, TYPES));
        break;
    case 4:
        memmove(m->data + type, m->data + from->end - 12, mutate_chance(m, 2) ? 4 : 12);
        break;
    case 5:
        store(m->data + offset, 8,
              load(m->data + offset, 8) + ALIGNMENT * mutate_below(m, 5) - 2 * ALIGNMENT);
        break;
    default:
        change_number(m, offset, 8);
    }
}

/* A key or a tensor is taken out, doubled, brought from another file, or put elsewhere. */
static void move_item(const struct edit *e)
{
    struct mutant *m = e->m;
    const bool tensor = e->map->tensors_count && (!e->map->keys_count || mutate_chance(m, 3));
    const struct map *from_map = e->other_map && mutate_chance(m, 2) ? e->other_map : e->map;
    const struct item *items = tensor ? e->map->tensors : e->map->keys;
    const struct item *theirs = tensor ? from_map->tensors : from_map->keys;
    const uint32_t count = tensor ? e->map->tensors_count : e->map->keys_count;
    const uint32_t their_count = tensor ? from_map->tensors_count : from_map->keys_count;
    const size_t counted = tensor ? TENSORS_AT : KEYS_AT;
    if (!count || !their_count)
        return;
    const struct item *to = any(m, items, count), *from = any(m, theirs, their_count);
    const uint8_t *bytes = (from_map == e->map ? m->data : e->other) + from->at;
    switch (mutate_below(m, 3)) {
    case 0:
        if (mutate_splice(m, to->at, to->end, NULL, 0))
            count_up(m, counted, -1);
        break;
    case 1:
        mutate_splice(m, to->at, to->end, bytes, from->end - from->at);
        break;
    default:
        if (mutate_splice(m, to->at, to->at, bytes, from->end - from->at))
            count_up(m, counted, 1);
    }
}

static void change_head(const struct edit *e)
{
    struct mutant *m = e->m;
    switch (mutate_below(m, 4)) {
    case 0:
        store(m->data + 4, 4, mutate_chance(m, 2) ? mutate_below(m, 5) : mutate_edge(m));
        break;
    case 1:
        count_up(m, TENSORS_AT, (int64_t)mutate_below(m, 3) - 1);
        break;
    case 2:
        count_up(m, KEYS_AT, (int64_t)mutate_below(m, 3) - 1);
        break;
    default:
        store(m->data + (mutate_chance(m, 2) ? KEYS_AT : TENSORS_AT), 8, mutate_edge(m));
    }
}

/* An alignment of its own, if the file has none. */
static void add_alignment(const struct edit *e)
{
    static const char name[] = "\21\0\0\0\0\0\0\0general.alignment\4\0\0";
    uint8_t key[sizeof name + 4];
    memcpy(key, name, sizeof name);
    store(key + sizeof name, 4,
          mutate_chance(e->m, 4) ? mutate_edge(e->m) : 1u << mutate_below(e->m, 8));
    if (mutate_splice(e->m, HEAD, HEAD, key, sizeof key))
        count_up(e->m, KEYS_AT, 1);
}

static void change_data(const struct edit *e)
{
    struct mutant *m = e->m;
    const size_t at = e->map->data;
    if (mutate_chance(m, 3))
        mutate_splice(m, m->size - mutate_below(m, (uint32_t)(m->size - at + 1)), m->size, NULL, 0);
    else
        mutate_bytes_in_place(m, at, m->size);
}

static void edit(const struct edit *e)
{
    const uint32_t what = mutate_below(e->m, 32);
    const bool keys = e->map->keys_count > 0, tensors = e->map->tensors_count > 0;
    if (what < 12 && keys)
        change_value(e);
    else if (what < 15 && keys)
        change_type(e);
    else if (what < 18 && (keys || tensors))
        change_name(e);
    else if (what < 24 && tensors)
        change_tensor(e);
    else if (what < 29)
        move_item(e);
    else if (what < 30)
        change_head(e);
    else if (what < 31)
        add_alignment(e);
    else
        change_data(e);
}

/* The data begins where it should again. */
static void pad(struct mutant *m, struct map *map, size_t data_bytes)
{
    static const uint8_t zeros[4096];
    if (!read_map(m->data, m->size, map) || data_bytes > m->size - map->infos_end)
        return;
    const size_t align = alignment(m->data, map);
    const size_t padding = (align - map->infos_end % align) % align;
    mutate_splice(m, map->infos_end, m->size - data_bytes, zeros, padding);
}

void mutate_gguf(struct mutant *m, const uint8_t *other, size_t other_size)
{
    struct map *maps = malloc(2 * sizeof *maps);
    uint32_t edits = 1 + mutate_below(m, mutate_below(m, MAX_EDITS) + 1);
    if (!maps)
        return;
    const bool two = other && read_map(other, other_size, &maps[1]);
    const struct edit e = {m, &maps[0], other, two ? &maps[1] : NULL};
    bool whole = read_map(m->data, m->size, &maps[0]);
    const size_t data_bytes = whole ? m->size - maps[0].data : 0;
    if (!whole)
        mutate_bytes(m, 0, m->size);
    for (; edits && whole; edits--) {
        edit(&e);
        whole = read_map(m->data, m->size, &maps[0]);
    }
    if (whole && !mutate_chance(m, 8))
        pad(m, &maps[0], data_bytes);
    free(maps);
}
