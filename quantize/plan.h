/* plan.h: a view and a policy become every byte count and place of the output, before any work.
 * plan.c and plan_shards.c for moeq files, plan_gguf.c for GGUF files. */
#ifndef MQ_PLAN_H
#define MQ_PLAN_H

#include "moeq_layout.h"
#include "policy.h"
#include "split.h"

struct mq_plan_entry {
    const struct mq_tensor *tensor;
    const struct mq_level *source, *level;
    uint64_t row_bytes, size_bytes; /* in the output */
    uint64_t offset;                /* of the first row, in the output file */
    uint32_t file;                  /* index into plan.files */
    uint32_t written_interleaved;   /* heads whose rows are to stand so: see struct mq_tensor */
    /* How a GGUF file has it otherwise (gguf_form.h), and of a matrix in two tensors the second;
     * NULL: as it is. */
    const struct mq_form *form;
    struct {
        const struct mq_level *level;
        uint64_t row_bytes, offset;
        uint32_t file;
    } second;
    /* Of folders for other runtimes: the tensors that the blocks are cut into, in place of `offset` and `file`; row_bytes
     * are then those of a row of blocks, and size_bytes of all parts. NULL: rows of blocks as they are. */
    const struct mq_split *split;
    struct {
        uint64_t row_bytes, offset; /* of the matrix's first row */
        uint32_t file;
    } parts[MQ_SPLIT_MOST];
    size_t item;                    /* of the journal; below plan.items_count */
};

/* One file of the output. */
struct mq_plan_file {
    const char *name;      /* in the folder that is the output; NULL where that is no folder: */
    const char *name_part; /* put before the name's extension: "", or "-00001-of-00003" */
    const char *name_end;  /* put behind it: "", or ".index.json" */
    const char *header;    /* its first bytes */
    uint64_t header_bytes, file_bytes;
    /* Of a moeq file, which ends with its checksums; otherwise NULL. Item i of the layout is item
     * first_item + i of the journal. */
    const struct mq_layout *layout;
    size_t first_item;
};

/* What is written beside headers and tensors' rows: side files, padding, small computed tensors. */
struct mq_plan_piece {
    const void *bytes; /* NULL: zeros */
    uint64_t size_bytes, offset;
    uint32_t file;
    size_t item; /* SIZE_MAX: none */
};

struct mq_plan_total {
    uint64_t tensors, weights, source_bytes, bytes;
};

/* Counts a tensor that becomes so many bytes. */
static inline void mq_plan_total_add(struct mq_plan_total *t, const struct mq_tensor *tensor,
                                     uint64_t bytes)
{
    t->tensors++;
    t->weights += tensor->rows * tensor->cols;
    t->source_bytes += tensor->rows * tensor->row_bytes;
    t->bytes += bytes;
}

struct mq_plan {
    const struct mq_view *view;
    enum mq_effort effort;
    const struct mq_importance *importance; /* see struct mq_policy */
    const char *calibration; /* see struct mq_policy */
    const struct mq_source_list *source_sums; /* the same */
    bool allow_nonfinite;                     /* the same */
    uint64_t nonfinite_weights;    /* the same */
    struct mq_plan_entry *entries; /* one a tensor of the view, in its order */
    struct mq_plan_file *files;
    size_t files_count;
    /* files[0] is the index of the others, the shards of a moeq model. What it says depends on the
     * output's name and on checksums, so its sizes are 0 here, and convert prints it. */
    bool has_index;
    /* The output is a folder of these files (header and pieces are all that those without tensors have), which appears
     * under its name when it is complete. */
    bool is_folder;
    const char *
        folder_format; /* of such a folder, as people write it after --format: "mlx"; otherwise NULL */
    struct mq_plan_piece *pieces;
    size_t pieces_count, items_count;
    uint64_t output_bytes; /* of all files but the index */
    /* Sentences on what the output cannot say; the arena's. */
    const char *warnings[8];
    size_t warnings_count;
    struct mq_plan_total by_class[MQ_CLASS_COUNT]; /* weights only: no header, padding, sides */
    struct mq_plan_total total;
    struct mq_arena *arena;
};

/* The plan of one moeq file. */
moeq_status mq_plan_create(const struct mq_view *view, const struct mq_policy *policy,
                           struct mq_plan **plan, moeq_error *err);

/* Levels and sizes alone: entries and totals, no places, files or headers. For what only counts. */
moeq_status mq_plan_create_sizes(const struct mq_view *view, const struct mq_policy *policy,
                                 struct mq_plan **plan, moeq_error *err);

/*
 * The plan of a moeq model in shards of at most shard_bytes, with an index; of one file where all
 * fits in one, or where shard_bytes is 0. A group (an expert's matrices, a layer's attention)
 * stands in one shard unless it alone is larger than one may be; a tensor never is torn, so one
 * that is larger has a larger shard to itself. Side files come last, in the last shard.
 */
moeq_status mq_plan_create_sharded(const struct mq_view *view, const struct mq_policy *policy,
                                   uint64_t shard_bytes, struct mq_plan **plan, moeq_error *err);
void mq_plan_free(struct mq_plan *plan); /* NULL is fine */

struct mq_gguf_options {
    /* Where GGUF cannot store what the policy says, use the next larger level that it can. */
    bool unify_up;
    uint64_t split_bytes; /* largest file, as far as single tensors allow; 0: one file */
};

/*
 * The same for GGUF files. Blocks are the same bytes as in a moeq file. What is the format's own:
 * the experts of one matrix are one tensor, hence of one level; rows are whole blocks, without
 * tails; routers and norms are f32. A policy that asks for something else is an error that names
 * the tensor, unless unify_up. So is a family or a tokenizer that GGUF has no name for.
 */
moeq_status mq_plan_create_gguf(const struct mq_view *view, const struct mq_policy *policy,
                                const struct mq_gguf_options *options, struct mq_plan **plan,
                                moeq_error *err);

struct mq_folder_options {
    enum mq_folder_format format;
    uint64_t shard_bytes;  /* largest file of tensors, as far as single tensors allow; 0: 5 GB, as Transformers writes */
    uint32_t tensor_parallel; /* among how many GPUs the runtime is to cut matrices; 0: 1 */
    bool unify_up; /* where the format has no form of a level, use the next larger one that it has */
    bool asked
        [MQ_CLASS_COUNT]; /* classes whose levels a user named: what does not fit there is an error */
};

/* The level of experts where none is asked for; NULL: as they are stored, in blocks. */
const struct mq_level *mq_folder_default_level(const struct mq_view *view,
                                               const struct mq_folder_options *options);
/* Of the classes whose levels nobody asked for, in place of levels that the runtime refuses for their shapes, those of as many
 * bits that it takes for most of their weights. */
void mq_folder_fit_policy(const struct mq_view *view, const struct mq_folder_options *options,
                          struct mq_policy *policy);

/*
 * The plan of a folder for another runtime (split.h): config.json with what it says of quantization, tensors by the names
 * that the runtime looks for, its side files. What the runtime refuses (shapes, families, mixed levels) is an error that
 * says so. plan_folder.c.
 */
moeq_status mq_plan_create_folder(const struct mq_view *view, const struct mq_policy *policy,
                                  const struct mq_folder_options *options, struct mq_plan **plan,
                                  moeq_error *err);

#endif
