/*
 * json.h: cJSON behind a gate.
 *
 * Before cJSON builds a tree, one scan without allocation (json_scan.h) checks the grammar and what
 * cJSON does not: nesting depth, number of values (a tree takes about 80 bytes a value, so the scan
 * caps the memory), UTF-8, and that no name or text holds U+0000: cJSON would end it there without
 * a word, and make another of it, which other readers do not see.
 *
 * A byte order mark at the beginning is skipped. A number that no double holds exactly is as good
 * as any where nobody needs it exactly (1e30 as the largest length of a text); NaN and Infinity,
 * which Python writes, become strings.
 */
#ifndef MQ_JSON_H
#define MQ_JSON_H

#include "json_scan.h"
#include "moeq.h"

#include <cjson/cJSON.h>

/* Parses a whole text. `path` names the file in messages and `base_offset` is where the text
 * starts in it. The tree is the caller's to cJSON_Delete. */
moeq_status mq_json_parse(const char *text, size_t n, const struct mq_json_limits *limits,
                          const char *path, uint64_t base_offset, cJSON **tree, moeq_error *err);

/* Checks a whole text as mq_json_parse does and makes no tree: the walk of json_scan.h gives its
 * members one by one. *walk is to be all zero, and stands on the outermost object; a text that is
 * no object has no members. */
moeq_status mq_json_check(const char *text, size_t n, const struct mq_json_limits *limits,
                          const char *path, uint64_t base_offset, struct mq_json_walk *walk,
                          uint64_t *members, moeq_error *err);

/* Fails if any object in the tree holds a key twice; the message names the key. */
moeq_status mq_json_refuse_duplicates(const cJSON *tree, const char *path, moeq_error *err);

/* Whether two values are the same, members in any order, in linear time (cJSON_Compare's is quadratic in the members of an
 * object). False where one is absent, a long object holds a key twice, or memory is short. */
bool mq_json_same(const cJSON *a, const cJSON *b);

/* True if the item is a whole number from 0 to 2^53 - 1: below 2^53 doubles are exact, so it is
 * the number that the text has. Everything that needs a number's exact value reads it by this. */
bool mq_json_u64(const cJSON *item, uint64_t *value);
bool mq_json_whole(double number, uint64_t *value); /* the same of an item's number */

/* A member of an object by its exact name, NULL if absent. */
const cJSON *mq_json_get(const cJSON *object, const char *key);

/* True if the n bytes are well-formed UTF-8 (no surrogates, no overlong forms); otherwise `*at`
 * is the offset of the first bad byte. */
bool mq_utf8_valid(const char *text, size_t n, size_t *at);

#endif
