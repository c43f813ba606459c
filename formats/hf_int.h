/* hf_int.h: what the units that open Hugging Face folders share. */
#ifndef MQ_HF_INT_H
#define MQ_HF_INT_H

#include "view_int.h"

/* The names in a folder, sorted: as many as a folder of a model could have. */
struct mq_hf_listing {
    const char **names;
    size_t count;
};
enum { MQ_HF_LISTING_MAX = 1 << 16 };

/* An unreadable folder is an error; names beyond the cap are left out. */
moeq_status mq_hf_list(const char *folder, struct mq_arena *arena, struct mq_hf_listing *listing,
                       moeq_error *err);

/* "model-00003-of-00019.safetensors": 3 of 19. False if the name is no shard's. */
struct mq_hf_shard_name {
    size_t stem; /* length of what stands before "-00003" */
    int digits;
    uint32_t number, total;
};
bool mq_hf_parse_shard_name(const char *name, struct mq_hf_shard_name *shard);

/* A folder that cannot be opened as a model: says what it is, or what is in it, and what to do.
 * Always fails. */
moeq_status mq_hf_explain(const char *folder, const struct mq_hf_listing *listing, bool has_config,
                          moeq_error *err);
/* "models--owner--name" in the path of a snapshot -> owner/name. False: it has none. */
bool mq_hf_repository_of(const char *folder, char *name, size_t room);
moeq_status mq_hf_explain_adapter(const char *folder, moeq_error *err);

/* A path that is there and cannot be followed: a link of the Hub's cache to a blob that is gone. Of
 * any other path nothing is said. */
moeq_status mq_hf_refuse_dangling(const char *folder, const char *path, moeq_error *err);

/* The command that fetches the folder's files (again). */
void mq_hf_fetch_command(const char *folder, char *text, size_t room);

#endif
