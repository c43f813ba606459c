/*
 * gguf.h: the header of a GGUF file, checked by all rules of the format.
 *
 *     "GGUF" | u32 version | u64 tensors | u64 keys | keys | tensor infos | padding | data
 *
 *     key          string name | u32 type | value
 *     string       u64 length | bytes          array   u32 type | u64 count | elements
 *     tensor info  string name | u32 dims | u64 ne[dims], fastest first | u32 type | u64 offset
 *
 * All little-endian. Offsets count from the start of the data; it and every tensor begin at a
 * multiple of general.alignment (32 where absent). Versions 2 and 3 are laid out alike. (Source:
 * docs/gguf.md of ggml.)
 *
 * As for safetensors, the rules are kept to the letter: names and keys are unique, tensors lie side
 * by side with less than one alignment of padding between and behind them, inside the file.
 */
#ifndef MQ_GGUF_H
#define MQ_GGUF_H

#include "arena.h"
#include "file.h"
#include "gguf_names.h"
#include "strmap.h"

#define MQ_GGUF_MAX_HEADER (512u << 20) /* real ones, with their vocabulary, are 10 MB */

/* One key. Its value is in the header's bytes: see the functions below. */
struct mq_gguf_key {
    const char *name;
    enum mq_gguf_value_type type, element; /* element: of an array, otherwise as type */
    uint64_t count;                        /* elements of an array, otherwise 1 */
    uint64_t offset, size_bytes;           /* of the value or the elements, in the file */
};

struct mq_gguf_tensor {
    const char *name;
    const struct mq_gguf_type *type;
    uint32_t dims;
    uint64_t ne[MQ_GGUF_MAX_DIMS]; /* fastest first; 1 from `dims` on */
    uint64_t row_bytes;            /* of ne[0] weights */
    uint64_t offset, size_bytes;   /* in the file, header included */
};

struct mq_gguf {
    struct mq_file file;
    uint32_t version, alignment;
    uint64_t data_offset;
    uint32_t header_crc32; /* CRC-32 of all before the data */
    char *header;          /* those bytes; owned */
    struct mq_gguf_key *keys;
    size_t keys_count;
    struct mq_gguf_tensor *tensors; /* by offset */
    size_t tensors_count;
    struct mq_strmap by_key, by_name;
};

/* Opens a file and validates its header. Names and tables live in the caller's arena; close frees
 * the rest. */
moeq_status mq_gguf_read(const char *path, struct mq_arena *arena, struct mq_gguf *gguf,
                         moeq_error *err);
/* The same for n bytes in memory, which are copied; `path` names them in messages. Close it also on
 * failure. */
moeq_status mq_gguf_parse(const char *path, const void *bytes, size_t n, struct mq_arena *arena,
                          struct mq_gguf *gguf, moeq_error *err);
/* The same of the header alone of a file of size_bytes. */
moeq_status mq_gguf_parse_header(const char *path, const void *bytes, size_t n, uint64_t size_bytes,
                                 struct mq_arena *arena, struct mq_gguf *gguf, moeq_error *err);
void mq_gguf_close(struct mq_gguf *gguf);

/* By name; NULL if there is none. */
const struct mq_gguf_key *mq_gguf_find(const struct mq_gguf *gguf, const char *key);
const struct mq_gguf_tensor *mq_gguf_find_tensor(const struct mq_gguf *gguf, const char *name);

/* The architecture's key, such as "llama.block_count" for "%s.block_count"; NULL if absent. */
const struct mq_gguf_key *mq_gguf_arch_key(const struct mq_gguf *gguf, const char *pattern,
                                           const char *architecture);

/* A failure about a key's value: "path: key 'k' at byte N: ...". */
moeq_status mq_gguf_fail_key(const struct mq_gguf *gguf, const struct mq_gguf_key *key,
                             moeq_status status, moeq_error *err, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Element i (0 for a value that is no array), which must exist. False if it is no such thing:
 * mq_gguf_whole takes every integer type that is not negative, mq_gguf_number floats too. */
bool mq_gguf_whole(const struct mq_gguf *gguf, const struct mq_gguf_key *key, uint64_t i,
                   uint64_t *value);
bool mq_gguf_number(const struct mq_gguf *gguf, const struct mq_gguf_key *key, uint64_t i,
                    double *value);
bool mq_gguf_bool(const struct mq_gguf *gguf, const struct mq_gguf_key *key, bool *value);

/* A positive finite number; `otherwise` where the key is absent or 0. */
moeq_status mq_gguf_positive(const struct mq_gguf *gguf, const struct mq_gguf_key *key,
                             double otherwise, double *value, moeq_error *err);

/* The strings of an array, or the one of a string key, one after the other:
 *     struct mq_gguf_strings all = mq_gguf_strings(gguf, key);
 *     while (mq_gguf_next(&all)) use(all.text, all.size);
 * Texts are not terminated, nor checked for UTF-8. None if the key is NULL or holds no strings. */
struct mq_gguf_strings {
    const char *text;
    size_t size;
    const char *at;
    uint64_t left;
};
struct mq_gguf_strings mq_gguf_strings(const struct mq_gguf *gguf, const struct mq_gguf_key *key);
bool mq_gguf_next(struct mq_gguf_strings *strings);

/* True if the key is there and holds exactly this text. */
bool mq_gguf_text_is(const struct mq_gguf *gguf, const struct mq_gguf_key *key, const char *text);

#endif
