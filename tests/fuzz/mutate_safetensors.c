/*
 * mutate_safetensors.c: changes to the header of a safetensors file. What it says of its tensors is
 * laid out anew most of the time, so that a changed shape is a valid file and not a hole.
 */
#include "mutate_safetensors.h"

#include "dtype.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading a header ---- */

static uint64_t number(const uint8_t *text, const struct json_node *node)
{
    char digits[24] = "";
    const size_t n = node->end - node->start;
    memcpy(digits, text + node->start, n < sizeof digits ? n : sizeof digits - 1);
    return strtoull(digits, NULL, 10);
}

/* The bytes of such a tensor, at most MAX_TENSOR_BYTES. False: it says nothing of the kind. */
static bool tensor_bytes(const struct json_tree *tree, const uint8_t *text, uint32_t type,
                         uint32_t shape, uint64_t *bytes)
{
    const struct json_node *nodes = tree->nodes;
    char name[16] = "";
    enum mq_dtype dtype;
    const size_t n = nodes[type].end - nodes[type].start;
    if (nodes[type].kind != JSON_STRING || n - 2 >= sizeof name || nodes[shape].kind != JSON_ARRAY)
        return false;
    memcpy(name, text + nodes[type].start + 1, n - 2);
    if (!mq_dtype_find(name, &dtype))
        return false;
    *bytes = mq_dtype_bytes(dtype);
    for (uint32_t i = shape + 1; i < nodes[shape].after; i++) {
        const uint64_t size = nodes[i].kind == JSON_WORD ? number(text, &nodes[i]) : 1;
        if (size && *bytes > MAX_TENSOR_BYTES / size)
            return false;
        *bytes *= size;
    }
    return true;
}

static bool read_place(const struct json_tree *tree, const uint8_t *text, uint32_t tensor,
                       struct place *place)
{
    const struct json_node *nodes = tree->nodes;
    const uint32_t type = json_tree_member(tree, text, tensor, "dtype");
    const uint32_t shape = json_tree_member(tree, text, tensor, "shape");
    const uint32_t offsets = json_tree_member(tree, text, tensor, "data_offsets");
    *place = (struct place){.name = nodes[tensor].key + 1, .name_end = nodes[tensor].key_end - 1};
    if (nodes[tensor].kind != JSON_OBJECT || !type || !shape || !offsets ||
        !tensor_bytes(tree, text, type, shape, &place->bytes))
        return false;
    place->type = nodes[type].start, place->type_end = nodes[type].end;
    place->shape = nodes[shape].start, place->shape_end = nodes[shape].end;
    place->offsets = nodes[offsets].start, place->offsets_end = nodes[offsets].end;
    if (nodes[offsets].members)
        place->begin = number(text, &nodes[offsets + 1]);
    return true;
}

uint32_t mutate_read_places(const struct mutant *m, size_t at, size_t end, struct place *places)
{
    struct json_tree tree;
    uint32_t count = 0;
    if (json_tree_parse(&tree, m->data, at, end) && tree.nodes[1].kind == JSON_OBJECT)
        for (uint32_t i = 2; i < tree.nodes[1].after && count < MAX_PLACES; i = tree.nodes[i].after)
            count += read_place(&tree, m->data, i, &places[count]);
    json_tree_free(&tree);
    return count;
}

/* ---- changing it ---- */

static void put_text(struct mutant *m, size_t at, size_t end, const char *text)
{
    mutate_splice(m, at, end, text, strlen(text));
}

void mutate_lay_out(struct mutant *m, const struct place *places, uint32_t count)
{
    uint64_t end = 0;
    char text[64];
    for (uint32_t i = 0; i < count; i++)
        end += places[i].bytes;
    /* from the last on, so that what was read of those before stays true; the shape may stand on
     * either side */
    for (uint32_t i = count; i--;) {
        const struct place *p = &places[i];
        snprintf(text, sizeof text, "[%" PRIu64 ",%" PRIu64 "]", end - p->bytes, end);
        end -= p->bytes;
        const bool shape_first = p->shape < p->offsets;
        char shape[32];
        snprintf(shape, sizeof shape, "[%" PRIu64 "]", p->bytes / (p->words ? 4 : 1));
        if (p->reshape && !shape_first)
            put_text(m, p->shape, p->shape_end, shape);
        put_text(m, p->offsets, p->offsets_end, text);
        if (p->reshape && shape_first)
            put_text(m, p->shape, p->shape_end, shape);
    }
}

/* A tensor's type or shape, kept of a size that can be laid out. */
static void change_tensor(struct mutant *m, const struct place *places, uint32_t count)
{
    const struct place *p = &places[mutate_below(m, count)];
    const struct place *from = &places[mutate_below(m, count)];
    char text[64];
    switch (mutate_below(m, 5)) {
    case 0:
        snprintf(text, sizeof text, "\"%s\"", mq_dtype_name(mutate_below(m, MQ_DTYPE_COUNT)));
        put_text(m, p->type, p->type_end, text);
        break;
    case 1:
        mutate_splice(m, p->shape, p->shape_end, m->data + from->shape,
                      from->shape_end - from->shape);
        break;
    case 2:
        mutate_splice(m, p->name, p->name_end, m->data + from->name, from->name_end - from->name);
        break;
    case 3: /* one dimension more in front */
        put_text(m, p->shape + 1, p->shape + 1, p->shape_end == p->shape + 2 ? "1" : "1,");
        break;
    default:
        snprintf(text, sizeof text, "[%u,%u]", mutate_below(m, 40), mutate_below(m, 300));
        put_text(m, p->shape, p->shape_end, text);
    }
}

void mutate_header(struct mutant *m, size_t at, size_t end, struct place *places,
                   const uint8_t *other, size_t other_size)
{
    const uint32_t count = mutate_chance(m, 2) ? mutate_read_places(m, at, end, places) : 0;
    if (count)
        change_tensor(m, places, count);
    else if (!mutate_json_range(m, at, end, other, other_size))
        mutate_bytes(m, at, end);
}

void mutate_safetensors(struct mutant *m, const uint8_t *other, size_t other_size)
{
    struct place *places = malloc(MAX_PLACES * sizeof *places);
    if (places && m->size > 2) {
        mutate_header(m, 2, m->size, places, other && other_size > 2 ? other + 2 : NULL,
                      other_size > 2 ? other_size - 2 : 0);
        const uint32_t count = mutate_read_places(m, 2, m->size, places);
        uint64_t bytes = 0;
        if (!mutate_chance(m, 3)) {
            mutate_lay_out(m, places, count);
            for (uint32_t i = 0; i < count; i++)
                bytes += places[i].bytes;
            if (mutate_chance(m, 10))
                bytes += mutate_below(m, 3) - 1;
            m->data[0] = (uint8_t)bytes, m->data[1] = (uint8_t)(bytes >> 8);
        }
    } else {
        mutate_bytes(m, 0, m->size);
    }
    free(places);
}

/* A header, its length kept right, behind a config.json and an index with NUL bytes behind them. */
void mutate_hf_folder(struct mutant *m, const uint8_t *other, size_t other_size)
{
    struct place *places = malloc(MAX_PLACES * sizeof *places);
    const uint8_t *nul = m->size ? memchr(m->data, 0, m->size) : NULL;
    nul = nul ? memchr(nul + 1, 0, m->size - (size_t)(nul + 1 - m->data)) : NULL;
    const size_t at = nul ? (size_t)(nul + 1 - m->data) : m->size;
    if (!places || m->size - at < 8 || mutate_chance(m, 3)) {
        struct mutant front = {m->data, at ? at - 1 : 0, m->max - (m->size - (at ? at - 1 : 0)),
                               (uint64_t)mutate_below(m, UINT32_MAX)};
        uint8_t *rest = malloc(m->size + 1);
        const size_t rest_bytes = m->size - front.size;
        if (rest) {
            memcpy(rest, m->data + front.size, rest_bytes);
            mutate_json(&front, other, other_size);
            memcpy(m->data + front.size, rest, rest_bytes);
            m->size = front.size + rest_bytes;
        }
        free(rest);
    } else {
        mutate_header(m, at + 8, m->size, places, NULL, 0);
        if (!mutate_chance(m, 3))
            mutate_lay_out(m, places, mutate_read_places(m, at + 8, m->size, places));
        const uint64_t n = mutate_chance(m, 12) ? mutate_edge(m) : m->size - at - 8;
        for (int i = 0; i < 8; i++)
            m->data[at + (size_t)i] = (uint8_t)(n >> 8 * i);
    }
    free(places);
}
