/* json_tree.c: growing a JSON document. */
#include "json_tree.h"

#include "moeq.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

cJSON *mq_json_object(struct mq_json_tree *tree)
{
    cJSON *o = cJSON_CreateObject();
    tree->failed = tree->failed || !o;
    return o;
}

cJSON *mq_json_array(struct mq_json_tree *tree)
{
    cJSON *a = cJSON_CreateArray();
    tree->failed = tree->failed || !a;
    return a;
}

void mq_json_put(struct mq_json_tree *tree, cJSON *object, const char *key, cJSON *item)
{
    if (item && object && cJSON_AddItemToObject(object, key, item))
        return;
    cJSON_Delete(item);
    tree->failed = true;
}

void mq_json_append(struct mq_json_tree *tree, cJSON *array, cJSON *item)
{
    if (item && array && cJSON_AddItemToArray(array, item))
        return;
    cJSON_Delete(item);
    tree->failed = true;
}

void mq_json_put_number(struct mq_json_tree *tree, cJSON *object, const char *key, double x)
{
    mq_json_put(tree, object, key, isfinite(x) ? cJSON_CreateNumber(x) : cJSON_CreateNull());
}

void mq_json_put_count(struct mq_json_tree *tree, cJSON *object, const char *key, uint64_t n)
{
    mq_json_put_number(tree, object, key, (double)n);
}

void mq_json_put_text(struct mq_json_tree *tree, cJSON *object, const char *key, const char *text)
{
    mq_json_put(tree, object, key, text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

void mq_json_put_bool(struct mq_json_tree *tree, cJSON *object, const char *key, bool yes)
{
    mq_json_put(tree, object, key, cJSON_CreateBool(yes));
}

void mq_json_put_hex(struct mq_json_tree *tree, cJSON *object, const char *key, uint32_t x)
{
    char text[16];
    snprintf(text, sizeof text, "%08" PRIx32, x);
    mq_json_put_text(tree, object, key, text);
}

cJSON *mq_json_document(struct mq_json_tree *tree, const char *kind)
{
    cJSON *o = mq_json_object(tree);
    mq_json_put_text(tree, o, "moeq_result", kind);
    mq_json_put_count(tree, o, "result_version", MQ_RESULT_VERSION);
    mq_json_put_text(tree, o, "producer", "moeq " MOEQ_VERSION_STRING);
    return o;
}

cJSON *mq_json_finish(const struct mq_json_tree *tree, cJSON *root)
{
    if (!tree->failed)
        return root;
    cJSON_Delete(root);
    return NULL;
}
