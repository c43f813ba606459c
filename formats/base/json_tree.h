/*
 * json_tree.h: growing a JSON document. It fails only for want of memory: `failed` is sticky, every
 * function takes its item over in every case, and mq_json_finish gives the whole document up.
 */
#ifndef MQ_JSON_TREE_H
#define MQ_JSON_TREE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

/* Of every document that moeq prints: fields are added, never renamed, within a version. */
#define MQ_RESULT_VERSION 1

struct mq_json_tree {
    bool failed;
};

cJSON *mq_json_object(struct mq_json_tree *tree);
cJSON *mq_json_array(struct mq_json_tree *tree);

void mq_json_put(struct mq_json_tree *tree, cJSON *object, const char *key, cJSON *item);
void mq_json_append(struct mq_json_tree *tree, cJSON *array, cJSON *item);

/* null for what is not finite */
void mq_json_put_number(struct mq_json_tree *tree, cJSON *object, const char *key, double x);
/* counts below 2^53 are exact as JSON numbers */
void mq_json_put_count(struct mq_json_tree *tree, cJSON *object, const char *key, uint64_t n);
/* null for NULL */
void mq_json_put_text(struct mq_json_tree *tree, cJSON *object, const char *key, const char *text);
void mq_json_put_bool(struct mq_json_tree *tree, cJSON *object, const char *key, bool yes);
/* "0001f3ab" */
void mq_json_put_hex(struct mq_json_tree *tree, cJSON *object, const char *key, uint32_t x);

/* What every result begins with: {"moeq_result": kind, "result_version", "producer"}. */
cJSON *mq_json_document(struct mq_json_tree *tree, const char *kind);

/* The root, or NULL if anything failed. The caller cJSON_Deletes it. */
cJSON *mq_json_finish(const struct mq_json_tree *tree, cJSON *root);

#endif
