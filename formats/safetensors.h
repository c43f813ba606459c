/*
 * safetensors.h: the header of a safetensors file, checked by all rules of the format.
 *
 *     u64 N, little-endian | N bytes of JSON | data
 *
 * The JSON object maps each tensor's name to {"dtype", "shape", "data_offsets": [begin, end]},
 * offsets from the start of the data, and "__metadata__" to an object of strings. Tensors lie side
 * by side without holes or overlap from byte 0 to the end of the file. (Source of the rules: the
 * format section of the safetensors project's README, and its reader's validation.)
 */
#ifndef MQ_SAFETENSORS_H
#define MQ_SAFETENSORS_H

#include "arena.h"
#include "dtype.h"
#include "file.h"
#include "strmap.h"

enum { MQ_MAX_DIMS = 8 };
#define MQ_SAFETENSORS_MAX_HEADER 100000000u /* the format's own limit */

/* Values and names in an index of so many bytes. A tree takes some 70 bytes for each, and the name
 * of a tensor with that of its file 60 and more in the text: so the tree stays below three times
 * the text. */
#define MQ_INDEX_MAX_VALUES(bytes) ((bytes) / 24 + 16384)

struct mq_st_entry {
    const char *name;
    enum mq_dtype dtype;
    uint32_t dims;
    uint64_t shape[MQ_MAX_DIMS];
    uint64_t offset, size_bytes; /* in the file, header included */
};

struct mq_safetensors {
    struct mq_file file;
    uint64_t header_bytes;       /* 8 + N */
    uint32_t header_crc32;       /* CRC-32 of those bytes */
    struct mq_st_entry *entries; /* by offset */
    size_t count;
    const char **metadata; /* key, value, ..., NULL */
    struct mq_strmap by_name;
};

/* Opens a file and validates its header. Names and tables live in the caller's arena; close frees
 * the rest. */
moeq_status mq_safetensors_open(const char *path, struct mq_arena *arena, struct mq_safetensors *st,
                                moeq_error *err);
/* The same of a pipe or, for "-", standard input too: see mq_input_open. */
moeq_status mq_safetensors_open_input(const char *path, uint64_t cap, struct mq_arena *arena,
                                      struct mq_safetensors *st, moeq_error *err);
void mq_safetensors_close(struct mq_safetensors *st);

/* Parses N bytes of header JSON for a file whose data section has data_bytes: what open does after
 * reading, apart for tests and fuzzing. st->file.path must be set; offsets are relative to
 * st->header_bytes. */
moeq_status mq_safetensors_parse(const char *json, size_t n, uint64_t data_bytes,
                                 struct mq_arena *arena, struct mq_safetensors *st,
                                 moeq_error *err);

const struct mq_st_entry *mq_safetensors_find(const struct mq_safetensors *st, const char *name);

/* Whether a file begins as those that this program writes with such a value of the metadata's "format", which stands first
 * (mq_layout_build); a folder, and what is not there, is none. */
moeq_status mq_safetensors_is_of(const char *path, const char *format, bool *yes, moeq_error *err);

/* The value of a metadata key in a key, value, ..., NULL list; NULL if absent. */
const char *mq_metadata_get(const char *const *metadata, const char *key);

#endif
