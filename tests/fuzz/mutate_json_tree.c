/* mutate_json_tree.c: see the header. */
#include "mutate_json_tree.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 1 << 18 };

struct parser {
    struct json_tree *tree;
    const uint8_t *text;
    size_t at, end;
    uint32_t room;
    uint32_t parent, last; /* the open container, and what it had last; 0: nothing */
};

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_spaces(struct parser *p)
{
    while (p->at < p->end && is_space(p->text[p->at]))
        p->at++;
}

static bool skip_string(struct parser *p)
{
    for (p->at++; p->at < p->end; p->at++) {
        if (p->text[p->at] == '"') {
            p->at++;
            return true;
        }
        if (p->text[p->at] == '\\')
            p->at++;
    }
    return false;
}

static bool add_node(struct parser *p, size_t key, size_t key_end, enum json_kind kind)
{
    struct json_tree *tree = p->tree;
    if (tree->count == p->room) {
        const uint32_t room = p->room ? 2 * p->room : 256;
        struct json_node *nodes =
            room <= MAX_NODES ? realloc(tree->nodes, room * sizeof *nodes) : NULL;
        if (!nodes)
            return false;
        tree->nodes = nodes;
        p->room = room;
    }
    tree->nodes[tree->count] = (struct json_node){.key = key,
                                                  .key_end = key_end,
                                                  .start = p->at,
                                                  .parent = p->parent,
                                                  .prev = p->last,
                                                  .kind = kind};
    if (tree->count)
        tree->nodes[p->parent].members++;
    p->last = tree->count++;
    return true;
}

/* The value at p->at is over, or has begun if it is a container. */
static bool begin_value(struct parser *p)
{
    size_t key = 0, key_end = 0;
    if (p->tree->nodes[p->parent].kind == JSON_OBJECT) {
        key = p->at;
        if (p->text[p->at] != '"' || !skip_string(p))
            return false;
        key_end = p->at;
        skip_spaces(p);
        if (p->at >= p->end || p->text[p->at++] != ':')
            return false;
        skip_spaces(p);
        if (p->at >= p->end)
            return false;
    }
    const uint8_t c = p->text[p->at];
    if (c == '{' || c == '[') {
        if (!add_node(p, key, key_end, c == '{' ? JSON_OBJECT : JSON_ARRAY))
            return false;
        p->parent = p->last;
        p->last = 0;
        p->at++;
        return true;
    }
    if (!add_node(p, key, key_end, c == '"' ? JSON_STRING : JSON_WORD))
        return false;
    const size_t start = p->at;
    if (c == '"') {
        if (!skip_string(p))
            return false;
    } else {
        while (p->at < p->end && !is_space(p->text[p->at]) && !strchr(",]}:\"[{", p->text[p->at]))
            p->at++;
    }
    p->tree->nodes[p->last].end = p->at;
    p->tree->nodes[p->last].after = p->tree->count;
    return p->at > start;
}

static void close_container(struct parser *p)
{
    struct json_node *node = &p->tree->nodes[p->parent];
    node->end = ++p->at;
    node->after = p->tree->count;
    p->last = p->parent;
    p->parent = node->parent;
}

/* One member, element or end of a container. */
static bool step(struct parser *p)
{
    const struct json_node *in = &p->tree->nodes[p->parent];
    if (in->kind != JSON_TEXTS && p->text[p->at] == (in->kind == JSON_OBJECT ? '}' : ']')) {
        close_container(p);
        return true;
    }
    if (in->kind != JSON_TEXTS && in->members) {
        if (p->text[p->at++] != ',')
            return false;
        skip_spaces(p);
    }
    return p->at < p->end && begin_value(p);
}

bool json_tree_parse(struct json_tree *tree, const uint8_t *text, size_t at, size_t end)
{
    struct parser p = {.tree = tree, .text = text, .at = at, .end = end};
    *tree = (struct json_tree){0};
    if (!add_node(&p, 0, 0, JSON_TEXTS))
        return false;
    p.last = 0;
    for (skip_spaces(&p); p.at < end; skip_spaces(&p))
        if (!step(&p))
            return false;
    tree->nodes[0].end = end;
    tree->nodes[0].after = tree->count;
    return p.parent == 0 && tree->count > 1;
}

void json_tree_free(struct json_tree *tree)
{
    free(tree->nodes);
    tree->nodes = NULL;
}

size_t json_node_begin(const struct json_node *node)
{
    return node->key_end ? node->key : node->start;
}

uint32_t json_tree_member(const struct json_tree *tree, const uint8_t *text, uint32_t object,
                          const char *name)
{
    const struct json_node *nodes = tree->nodes;
    const size_t n = strlen(name);
    for (uint32_t i = object + 1; i < nodes[object].after; i = nodes[i].after)
        if (nodes[i].key_end == nodes[i].key + n + 2 &&
            memcmp(text + nodes[i].key + 1, name, n) == 0)
            return i;
    return 0;
}
