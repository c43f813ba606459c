/*
 * mutate_json.c: changes to JSON that mostly keep it JSON. Each change parses the text anew, so
 * that changes can follow each other without keeping spans right: the texts are short.
 */
#include "mutate.h"
#include "mutate_json_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EDITS = 5, LONGEST_TEXT = 300, DEEPEST = 70 };

struct edit {
    struct mutant *m;
    const struct json_tree *tree;
    uint32_t node;        /* what is to be changed */
    const uint8_t *other; /* the texts to splice from */
    const struct json_tree *other_tree;
};

static const struct json_node *node_of(const struct edit *e)
{
    return &e->tree->nodes[e->node];
}

/* ---- choosing ---- */

/* Any node, or one found from above: else the pieces of a vocabulary would get all the changes. */
static uint32_t choose(struct mutant *m, const struct json_tree *tree)
{
    if (mutate_chance(m, 2))
        return 1 + mutate_below(m, tree->count - 1);
    uint32_t at = 0;
    do {
        const struct json_node *in = &tree->nodes[at];
        const uint32_t end = in->after;
        uint32_t skip = mutate_below(m, in->members);
        for (at++; skip && tree->nodes[at].after < end; skip--)
            at = tree->nodes[at].after;
    } while (tree->nodes[at].members && !mutate_chance(m, 4));
    return at;
}

static const struct json_node *choose_of_kind(struct mutant *m, const struct json_tree *tree,
                                              enum json_kind kind)
{
    const uint32_t first = 1 + mutate_below(m, tree->count - 1);
    for (uint32_t i = 0; i + 1 < tree->count; i++) {
        const struct json_node *node = &tree->nodes[1 + (first - 1 + i) % (tree->count - 1)];
        if (node->kind == kind)
            return node;
    }
    return NULL;
}

/* ---- the changes ---- */

static void put_value(const struct edit *e, const char *text)
{
    mutate_splice(e->m, node_of(e)->start, node_of(e)->end, text, strlen(text));
}

static void edit_number(const struct edit *e)
{
    static const char *const edges[] = {
        "0",
        "-1",
        "1",
        "-0",
        "0.5",
        "-0.0",
        "1e308",
        "-1e308",
        "1e-320",
        "1e999",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "01",
        "1.",
        "NaN",
        "-Infinity",
        "65536",
        "255",
        "256",
        "0.0000000000000000000000000000000000000000000000000000000000000000001"};
    const struct json_node *node = node_of(e);
    char text[32] = "";
    if (mutate_chance(e->m, 2)) {
        put_value(e, edges[mutate_below(e->m, sizeof edges / sizeof *edges)]);
        return;
    }
    /* a neighbour of what stands there, or a small one */
    memcpy(text, e->m->data + node->start,
           node->end - node->start < sizeof text ? node->end - node->start : sizeof text - 1);
    const long long old = strtoll(text, NULL, 10);
    const unsigned long long scale = 1 + mutate_below(e->m, 3);
    const unsigned long long near = (unsigned long long)old * scale + mutate_below(e->m, 5) - 2;
    snprintf(text, sizeof text, "%lld",
             mutate_chance(e->m, 3) ? (long long)mutate_below(e->m, 600) : (long long)near);
    put_value(e, text);
}

static void edit_remove(const struct edit *e)
{
    const struct json_node *node = node_of(e), *nodes = e->tree->nodes;
    size_t at = json_node_begin(node), end = node->end;
    if (node->after < nodes[node->parent].after) /* not the last: with the comma behind it */
        end = json_node_begin(&nodes[node->after]);
    else if (node->prev)
        at = nodes[node->prev].end;
    mutate_splice(e->m, at, end, NULL, 0);
}

/* Inserts bytes as a neighbour of the node, in front of it. */
static void insert(const struct edit *e, const void *bytes, size_t n)
{
    const struct json_node *node = node_of(e);
    const size_t at = json_node_begin(node);
    uint8_t *text = malloc(n + 1);
    if (!text)
        return;
    memcpy(text, bytes, n);
    text[n] = e->tree->nodes[node->parent].kind == JSON_TEXTS ? '\n' : ',';
    mutate_splice(e->m, at, at, text, n + 1);
    free(text);
}

static void edit_duplicate(const struct edit *e)
{
    const struct json_node *node = node_of(e);
    const size_t at = json_node_begin(node), n = node->end - at;
    const uint32_t times = mutate_chance(e->m, 4) ? 1 + mutate_below(e->m, 70) : 1;
    uint8_t *copy = malloc(n + 1);
    if (!copy)
        return;
    memcpy(copy, e->m->data + at, n);
    for (uint32_t i = 0; i < times; i++)
        insert(e, copy, n);
    free(copy);
}

/* Two siblings, or their values alone, change places. */
static void edit_swap(const struct edit *e)
{
    const struct json_node *nodes = e->tree->nodes, *b = node_of(e), *a = b;
    const bool whole = mutate_chance(e->m, 2);
    for (uint32_t back = 1 + mutate_below(e->m, 4); back && a->prev; back--)
        a = &nodes[a->prev];
    if (a == b)
        return;
    const uint8_t *text = e->m->data;
    const size_t at = whole ? json_node_begin(a) : a->start;
    const size_t second = whole ? json_node_begin(b) : b->start;
    uint8_t *swapped = malloc(b->end - at), *to = swapped;
    if (!swapped)
        return;
    memcpy(to, text + second, b->end - second), to += b->end - second;
    memcpy(to, text + a->end, second - a->end), to += second - a->end;
    memcpy(to, text + at, a->end - at);
    mutate_splice(e->m, at, b->end, swapped, b->end - at);
    free(swapped);
}

static void edit_type(const struct edit *e)
{
    static const char *const values[] = {"null", "true", "false", "0",       "\"\"",     "[]",
                                         "{}",   "1.5",  "\"0\"", "[[],{}]", "{\"\":0}", "\"a\""};
    const struct json_node *node = node_of(e);
    struct mutant *m = e->m;
    if (mutate_chance(m, 4)) { /* in quotes or a list of its own */
        const bool quote = node->kind == JSON_WORD && mutate_chance(m, 2);
        if (mutate_splice(m, node->end, node->end, quote ? "\"" : "]", 1))
            mutate_splice(m, node->start, node->start, quote ? "\"" : "[", 1);
    } else {
        put_value(e, values[mutate_below(m, sizeof values / sizeof *values)]);
    }
}

/* Text that stands between quotes from `at` to `end`. */
static void change_text(const struct edit *e, size_t at, size_t end)
{
    static const char *const odd[] = {"\\u0000",
                                      "\\ud800",
                                      "\\udc00\\ud800",
                                      "\xff",
                                      "\xc0\x80",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\\ud83d\\ude00",
                                      "\xc3\xa9",
                                      "e\xcc\x81",
                                      "\xe2\x96\x81",
                                      "\\n",
                                      "\\\"",
                                      "\\\\",
                                      "\\/",
                                      "\\x",
                                      "\n",
                                      "\xef\xbb\xbf",
                                      "%s%n",
                                      "../",
                                      "/",
                                      " ",
                                      "\xe2\x80\xae"};
    struct mutant *m = e->m;
    const size_t place = at + mutate_below(m, (uint32_t)(end - at + 1));
    const struct json_node *from = choose_of_kind(m, e->tree, JSON_STRING);
    char run[LONGEST_TEXT];
    switch (mutate_below(m, 6)) {
    case 0: /* another of the text's */
        if (from)
            mutate_splice(m, at, end, m->data + from->start + 1, from->end - from->start - 2);
        break;
    case 1: /* a name of the text's */
        from = &e->tree->nodes[choose(m, e->tree)];
        if (from->key_end)
            mutate_splice(m, at, end, m->data + from->key + 1, from->key_end - from->key - 2);
        break;
    case 2:
        memset(run, "a0 /"[mutate_below(m, 4)], sizeof run);
        mutate_splice(m, place, place, run, mutate_below(m, sizeof run));
        break;
    case 3: {
        const char *const what = odd[mutate_below(m, sizeof odd / sizeof *odd)];
        mutate_splice(m, place, place, what, strlen(what));
        break;
    }
    case 4: /* cut */
        mutate_splice(m, at + (place - at) / 2, place, NULL, 0);
        break;
    default:
        mutate_bytes(m, at, end);
    }
}

static void edit_string(const struct edit *e)
{
    change_text(e, node_of(e)->start + 1, node_of(e)->end - 1);
}

static void edit_key(const struct edit *e)
{
    const struct json_node *node = node_of(e);
    if (node->key_end)
        change_text(e, node->key + 1, node->key_end - 1);
}

static void edit_nest(const struct edit *e)
{
    static const char *const open[] = {"[", "{\"a\":", "[0,"}, close[] = "]}]";
    const uint32_t depth = mutate_chance(e->m, 3) ? 1 + mutate_below(e->m, DEEPEST) : 1;
    const uint32_t form = mutate_below(e->m, 3);
    const struct json_node *node = node_of(e);
    const size_t n = strlen(open[form]);
    uint8_t *text = malloc(depth * (n + 1) + node->end - node->start), *to = text;
    if (!text)
        return;
    for (uint32_t i = 0; i < depth; i++, to += n)
        memcpy(to, open[form], n);
    memcpy(to, e->m->data + node->start, node->end - node->start);
    to += node->end - node->start;
    memset(to, close[form], depth);
    mutate_splice(e->m, node->start, node->end, text, (size_t)(to + depth - text));
    free(text);
}

/* A value, member or element of this text or of another, in place of the node or beside it. */
static void edit_graft(const struct edit *e)
{
    const bool foreign = e->other && !mutate_chance(e->m, 4);
    const struct json_tree *tree = foreign ? e->other_tree : e->tree;
    const uint8_t *text = foreign ? e->other : e->m->data;
    const struct json_node *from = &tree->nodes[choose(e->m, tree)], *node = node_of(e);
    const size_t at = json_node_begin(from);
    const bool member = e->tree->nodes[node->parent].kind == JSON_OBJECT;
    if (mutate_chance(e->m, 2))
        mutate_splice(e->m, node->start, node->end, text + from->start, from->end - from->start);
    else if (!member)
        insert(e, text + from->start, from->end - from->start);
    else if (from->key_end)
        insert(e, text + at, from->end - at);
}

static void edit_bytes(const struct edit *e)
{
    mutate_bytes(e->m, node_of(e)->start, node_of(e)->end);
}

static void edit(const struct edit *e)
{
    static void (*const of_all[])(const struct edit *) = {
        edit_remove, edit_duplicate, edit_swap,  edit_type,  edit_key,
        edit_nest,   edit_graft,     edit_graft, edit_bytes, edit_swap};
    const enum json_kind kind = node_of(e)->kind;
    if (kind == JSON_STRING && mutate_chance(e->m, 2))
        edit_string(e);
    else if (kind == JSON_WORD && mutate_chance(e->m, 2))
        edit_number(e);
    else
        of_all[mutate_below(e->m, sizeof of_all / sizeof *of_all)](e);
}

/* ---- the texts ---- */

bool mutate_json_range(struct mutant *m, size_t at, size_t end, const uint8_t *other,
                       size_t other_size)
{
    struct json_tree tree, other_tree = {0};
    const bool grafts =
        other && json_tree_parse(&other_tree, other, 0, other_size) && other_tree.count > 1;
    uint32_t edits = 1 + mutate_below(m, mutate_below(m, MAX_EDITS) + 1);
    bool any = false;
    while (edits--) {
        const bool good = json_tree_parse(&tree, m->data, at, end);
        if (good) {
            const struct edit e = {.m = m,
                                   .tree = &tree,
                                   .node = choose(m, &tree),
                                   .other = grafts ? other : NULL,
                                   .other_tree = &other_tree};
            const size_t size = m->size;
            if (grafts && !any)
                edit_graft(&e);
            else
                edit(&e);
            end = end + m->size - size;
            any = true;
        }
        json_tree_free(&tree);
        if (!good)
            break;
    }
    json_tree_free(&other_tree);
    return any;
}

/* The part between NUL bytes that `place` is in. */
static void find_part(const uint8_t *data, size_t size, size_t place, size_t *at, size_t *end)
{
    *at = *end = place;
    while (*at && data[*at - 1])
        --*at;
    while (*end < size && data[*end])
        ++*end;
}

void mutate_json(struct mutant *m, const uint8_t *other, size_t other_size)
{
    size_t at, end, other_at = 0, other_end = other_size;
    find_part(m->data, m->size, mutate_below(m, (uint32_t)m->size), &at, &end);
    if (other)
        find_part(other, other_size, mutate_below(m, (uint32_t)other_size), &other_at, &other_end);
    if (!mutate_json_range(m, at, end, other ? other + other_at : NULL, other_end - other_at))
        mutate_bytes(m, at, end);
}
