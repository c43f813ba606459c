/*
 * stored_table.h: the tensors and the metadata of a moeq model's or a GGUF model's files by name, wherever in the files they are: so that
 * what a plan says can be compared with what was written, however either is cut into files.
 */
#ifndef MQ_STORED_TABLE_H
#define MQ_STORED_TABLE_H

#include "gguf.h"
#include "plan.h"
#include "strmap.h"

struct mq_stored_tensor {
    const char *name, *kind; /* kind: "U8 [256, 144]", "Q4_K [256, 512, 8]" */
    uint32_t file;
    uint64_t offset, size_bytes, row_bytes;
    uint64_t experts;  /* that stand in it one after the other; 1: none, or one */
    size_t first_unit; /* each expert is one, numbered through all tensors */
};

struct mq_stored_key {
    const char *name;
    const char *bytes; /* of the value; with what tells its type from others' in `type` */
    size_t size;
    uint64_t type;
    bool is_text;
    const char *shown; /* of what is no text: "1e-05", "a list of 2048"; NULL: nothing short */
};

struct mq_stored_table {
    struct mq_stored_tensor *tensors; /* by file and offset; but padding and checksums */
    size_t count, units;
    struct mq_stored_key *keys;
    size_t keys_count;
    struct mq_strmap by_name, by_key;
    struct mq_gguf *gguf; /* [files], whose headers the keys' values are in */
    size_t gguf_count;
    struct mq_arena *arena;
};

/* Of the files of a view, and of the headers of a plan. Free it in any case. */
moeq_status mq_stored_table_of_view(struct mq_stored_table *table, const struct mq_view *view,
                                    moeq_error *err);
moeq_status mq_stored_table_of_plan(struct mq_stored_table *table, const struct mq_plan *plan,
                                    bool gguf, moeq_error *err);
void mq_stored_table_free(struct mq_stored_table *table);

/* NULL if there is none. */
const struct mq_stored_tensor *mq_stored_find(const struct mq_stored_table *table,
                                              const char *name);
const struct mq_stored_key *mq_stored_find_key(const struct mq_stored_table *table,
                                               const char *name);
/* The tensor that a byte belongs to; NULL: it is padding, or a header's. */
const struct mq_stored_tensor *mq_stored_at(const struct mq_stored_table *table, uint32_t file,
                                            uint64_t offset);

#endif
