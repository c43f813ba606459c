/*
 * mutate_json_tree.h: JSON as a tree of spans, with the first member or element after its container
 * in one array. It is not a parser to judge by: bare words of any kind are values.
 */
#ifndef MQ_FUZZ_MUTATE_JSON_TREE_H
#define MQ_FUZZ_MUTATE_JSON_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind { JSON_TEXTS, JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_WORD };

struct json_node {
    size_t key, key_end;     /* with the quotes; both 0: none */
    size_t start, end;       /* the value */
    uint32_t parent, prev;   /* prev: the sibling before; 0: none */
    uint32_t after, members; /* after: behind its subtree */
    enum json_kind kind;
};

/* nodes[0], of kind JSON_TEXTS, holds the texts, which white space parts. */
struct json_tree {
    struct json_node *nodes;
    uint32_t count;
};

/* False: it is no JSON, or no memory. What was made is freed by json_tree_free in either case. */
bool json_tree_parse(struct json_tree *tree, const uint8_t *text, size_t at, size_t end);
void json_tree_free(struct json_tree *tree);

/* Where the node begins: its key, or its value. */
size_t json_node_begin(const struct json_node *node);

/* The member of this name; 0: there is none. */
uint32_t json_tree_member(const struct json_tree *tree, const uint8_t *text, uint32_t object,
                          const char *name);

#endif
