/* moeq_profile.h: the names and rules of a moeq file. FORMAT.md is the specification. */
#ifndef MQ_MOEQ_PROFILE_H
#define MQ_MOEQ_PROFILE_H

#include "model_view.h"

#define MQ_PROFILE_VERSION "1"
#define MQ_META_FORMAT "format" /* = "moeq" */
#define MQ_META_VERSION "moeq.version"
#define MQ_META_PRODUCER "moeq.producer"
#define MQ_META_FAMILY "moeq.family"
#define MQ_META_NAME "moeq.name"
#define MQ_META_SOURCE "moeq.source"
#define MQ_META_RECIPE "moeq.recipe"
/* Of each quantized tensor: MQ_META_TENSOR "<name>" = "<level> <rows> <cols>". */
#define MQ_META_TENSOR "moeq.tensor."

/* SHA-256 sums of the source's files, which were compared with a list: lines as of sha256sum (sums_list.h). */
#define MQ_META_SOURCE_SUMS "moeq.source.sha256"

/* Matrices that lost more than usual: a sentence (convert/losses.h). */
#define MQ_META_LOSSES "moeq.losses"

/* Of one of several files of a model: "2 of 3". */
#define MQ_META_SHARD "moeq.shard"

#define MQ_PAD_PREFIX "moeq.pad."
#define MQ_CRC_NAME "moeq.crc32"

/* The index of a model in several files is named as the model would be in one, with this ending. */
#define MQ_INDEX_ENDING ".index.json"

/* Data begins, and each expert's group begins, at a multiple of this many bytes in the file. */
enum { MQ_GROUP_ALIGN = 4096 };

/* Bytes of a chat template, and of all of a folder. */
enum { MQ_CHAT_TEMPLATES_CAP = 16 << 20 };

/* Where the side files of a view come from: a folder, or zlib streams inside a moeq file. */
struct mq_side_file {
    const char *file_name;   /* in a Hugging Face folder; NULL: made of several files */
    const char *tensor_name; /* in a moeq file; NULL: its content has gone into others */
    uint64_t cap_bytes;
    bool required;
};
extern const struct mq_side_file mq_side_files[MQ_SIDE_COUNT];

#endif
