/*
 * json_scan.h: the grammar of JSON (RFC 8259), checked in one pass that allocates nothing.
 *
 * It is the whole of the grammar, not a filter before another parser: what it lets pass cJSON can
 * read, so that a failure of cJSON's behind it is one of memory and of nothing else.
 */
#ifndef MQ_JSON_SCAN_H
#define MQ_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mq_json_limits {
    uint32_t depth;    /* nesting of arrays and objects, at most MQ_JSON_DEEPEST */
    uint64_t values;   /* values and keys in the whole text */
    bool only_natural; /* numbers must be plain digits without a leading zero, at most 2^53 */
    bool nul_in_texts; /* values may hold U+0000: who sets it takes them from the text, where
                          cJSON's strings end there */
};

enum {
    MQ_JSON_DEEPEST = 64,
    MQ_JSON_NUMBER = 60, /* cJSON (to 1.7.15) reads at most this many characters of a number */
};

struct mq_json_scan {
    const char *text;
    size_t n, at;
    uint64_t values, members; /* members: of the outermost object */
    uint64_t mends;           /* numbers that cJSON cannot read as they stand */
    const char *problem;      /* on failure; `at` is where */
};

/* Set text and n, the rest is zero. The text must be UTF-8. */
bool mq_json_scan(struct mq_json_scan *scan, const struct mq_json_limits *limits);

/* The length of NaN, Infinity or -Infinity at `at`; 0: none. Python writes these, and reads them. */
size_t mq_json_number_word(const char *text, size_t n, size_t at);

/* Behind the string whose opening quote is at `at`; n if it has no end. */
size_t mq_json_string_end(const char *text, size_t n, size_t at);

/* Behind the value at `at`; n if it has no end. In a text that is no JSON: some place from `at` on. */
size_t mq_json_value_end(const char *text, size_t n, size_t at);

/* A walk over the members of an object in a text that was scanned: `at` on its brace at first. */
struct mq_json_walk {
    const char *text;
    size_t n, at;
    /* the member: its key with the quotes, its value */
    size_t key, key_end, value, value_end;
};
/* The next member; false behind the last. */
bool mq_json_walk_next(struct mq_json_walk *walk);
/* The same over the items of an array, which have no keys: `at` on its bracket at first. */
bool mq_json_walk_item(struct mq_json_walk *walk);

#endif
