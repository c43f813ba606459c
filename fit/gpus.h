/* gpus.h: the graphics cards that `fit` knows, and finding one by the names people use. */
#ifndef MQ_GPUS_H
#define MQ_GPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How much of the memory on the label a program can have. */
enum mq_gpu_memory {
    MQ_GPU_DEDICATED,
    MQ_GPU_INLINE_ECC, /* error correction on by default, its check bits in the same memory */
    MQ_GPU_UNIFIED,    /* the processor's memory, shared with the system and other programs */
    MQ_GPU_APPLE,      /* the same, with macOS's limit on what the graphics part may hold */
    MQ_GPU_MEMORY_COUNT
};

static inline bool mq_gpu_is_unified(enum mq_gpu_memory memory)
{
    return memory == MQ_GPU_UNIFIED || memory == MQ_GPU_APPLE;
}

struct mq_gpu {
    const char *name;
    /* The words that identify it, in order, letters and digits apart ("a 100 80"); '|' separates
     * other ways to write them. */
    const char *forms;
    const char *extra; /* further words that its full name may hold */
    /* The sizes that it is sold with, on the label, in units of 2^30 bytes: memory chips are powers
     * of 2. Where there are several, a name without the size is no match. */
    const char *sizes_gb;
    uint32_t bandwidth_gbs; /* 1e9 bytes a second */
    enum mq_gpu_memory memory;
    const char *source; /* of memory and bandwidth */
};

extern const struct mq_gpu mq_gpus[];
extern const size_t mq_gpus_count;

/* Size number i of those that it is sold with; 0 behind the last. */
uint32_t mq_gpu_size_gb(const struct mq_gpu *gpu, size_t i);

/* Its name, with the sizes where there are several: "Apple M2 Max (32, 64 or 96 GB)". */
void mq_gpu_describe(const struct mq_gpu *gpu, char *text, size_t room);

/* What a program can have of so much memory, and the rule in words. */
uint64_t mq_gpu_usable_bytes(enum mq_gpu_memory memory, uint64_t label_bytes);
const char *mq_gpu_memory_rule(enum mq_gpu_memory memory);

enum { MQ_GPU_CANDIDATES = 8, MQ_GPU_MAX_CARDS = 64 };

/* "2x3090", "2 x 24GiB", "4*L4": the count, and the text behind it; 1 and all of it where none is.
 */
const char *mq_gpu_split_count(const char *text, uint32_t *cards);

struct mq_gpu_search {
    const struct mq_gpu *gpu; /* NULL: none or several */
    uint32_t memory_gb;       /* of the sizes that it is sold with */
    uint32_t cards;           /* 2 in "2x3090" */
    const char *name;         /* the text behind the count */
    /* Without a match: the cards whose names have all of the words ("a100"), those that are sold
     * with several sizes and none is named ("m2 max"), or, if is_near, those whose number it has
     * ("3090 super"). */
    const struct mq_gpu *candidates[MQ_GPU_CANDIDATES];
    size_t candidates_count;
    bool is_near;
    bool has_size; /* the text names one of the sizes of candidates[0] */
};

/*
 * A list of cards or sizes as people write it, with the counts in front and commas between:
 * "3090x2", "3090 x 2" -> "2x3090"; "3090+3060" -> "3090,3060". False if `room` is too small.
 */
bool mq_gpu_list(const char *text, char *list, size_t room);

/*
 * "4090", "rtx 4090", "RTX4090", "NVIDIA GeForce RTX 4090", "a100-40", "m2 max 32GB", "2x3090".
 * Case, spaces and punctuation do not matter; a word that belongs to another card does ("3090 ti"
 * is not the 3090). What a Mac is called besides its chip does not ("macbook pro m1 max 64gb").
 * True if exactly one card is meant.
 */
bool mq_gpu_search(const char *text, struct mq_gpu_search *search);

#endif
