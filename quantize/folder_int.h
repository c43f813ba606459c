/* folder_int.h: what the units that plan folders for other runtimes share (plan_folder.c). */
#ifndef MQ_FOLDER_INT_H
#define MQ_FOLDER_INT_H

#include "plan_int.h"

/* How the runtimes know a family: see folder_names.c. */
struct mq_folder_family {
    const char *family; /* as families.c calls it */
    const char *
        why_not; /* its official folder has no matrices of single experts: the words for it; NULL */
    const char *
        stack; /* in mlx-lm: the module that has a layer's experts stacked; NULL: mlx-lm, or this version, has
                          * no such model, as mlx_why says */
    const char *mlx_why;
    const char *mlx_remark; /* what a user of mlx-lm should know; NULL */
    const char *
        mlx_prefix; /* before all its names; such a model of mlx-lm leaves a vision tower alone; NULL */
    bool splits_kv_b;  /* mlx-lm makes two matrices of kv_b_proj as it loads, of plain numbers */
    bool renames_mlps; /* mlx-lm calls the matrices of MLPs as most families do */
};

struct mq_folder_job {
    struct mq_plan *plan;
    const struct mq_policy *policy;
    const struct mq_folder_options *options;
    const struct mq_folder_family *family;
    const struct mq_level **levels; /* one a tensor of the view */
    moeq_error *err;
};

/* One tensor of the output: all rows of an entry or one of its parts, the same of the experts of one matrix behind each
 * other, or bytes that are computed. */
struct mq_folder_tensor {
    const char *name;
    enum mq_dtype dtype;
    uint32_t dims;
    uint64_t shape[3];
    uint64_t size_bytes, offset; /* offset: behind the start of the shard's data */
    uint32_t shard;
    bool opens;        /* the first of those that stay in one shard */
    const void *bytes; /* of a computed tensor; NULL: the rows of entries */
};

/* ---- folder_names.c ---- */

/* Refuses a family that the format cannot hold, or whose model has other parts. */
moeq_status mq_folder_find_family(struct mq_folder_job *job);
/* What the runtime calls the module of a tensor ("model.layers.0.mlp.gate"), experts stacked where the format stacks them;
 * and the tensor itself if it stays plain. NULL when out of memory. */
const char *mq_folder_module(const struct mq_folder_job *job, const struct mq_tensor *tensor);
const char *mq_folder_plain_name(const struct mq_folder_job *job, const struct mq_tensor *tensor);
/* Whether it is a part of a stack of experts. */
bool mq_folder_stacks(const struct mq_folder_job *job, const struct mq_tensor *tensor);
/* As people write it after --format. */
const char *mq_folder_format_name(enum mq_folder_format format);

/* ---- folder_shapes.c ---- */

static inline uint64_t mq_folder_gpus(const struct mq_folder_options *options)
{
    return options->tensor_parallel ? options->tensor_parallel : 1;
}
/* Whether a runtime's kernels take the tensor in this form on so many GPUs; an error that says why not, and what does. */
bool mq_folder_fits(const struct mq_split *split, const struct mq_tensor *tensor, uint64_t gpus);
/* The same kind of codes in other groups. */
static inline bool mq_folder_same_codes(const struct mq_split *a, const struct mq_split *b)
{
    return a->cut == b->cut && mq_split_bits(a) == mq_split_bits(b);
}
moeq_status mq_folder_check_shape(const struct mq_folder_job *job, const struct mq_tensor *tensor,
                                  const struct mq_split *split);

/* ---- folder_levels.c ---- */

/* job->levels, and the plan's entries with their forms: what the policy says, as far as the format has a form of it. */
moeq_status mq_folder_levels(struct mq_folder_job *job);
/* Whether the format could hold the tensor otherwise than plain. */
bool mq_folder_may_quantize(const struct mq_folder_job *job, const struct mq_tensor *tensor);
/* Of the runtimes that look up the whole of a module: a matrix of which they may ask how it is stored. */
bool mq_folder_is_linear(const struct mq_tensor *tensor);

/* ---- folder_config.c ---- */

/* The text of config.json. */
moeq_status mq_folder_config(struct mq_folder_job *job, struct mq_plan_file *file);

/* ---- folder_groups.c ---- */

/* The member "quantization_config" of config.json, or of MLX both that it has; nothing where all is plain. */
void mq_folder_put_quantization(const struct mq_folder_job *job, struct mq_buffer *text);

/* ---- folder_sides.c ---- */

/* A file that is all text; the buffer is freed. */
moeq_status mq_folder_text_file(const struct mq_folder_job *job, const char *name,
                                struct mq_buffer *text, struct mq_plan_file *file);
/* The side files: at most MQ_FOLDER_SIDES of them, appended to files. */
enum { MQ_FOLDER_SIDES = 64 };
moeq_status mq_folder_sides(struct mq_folder_job *job, struct mq_plan_file *files, size_t *count);

#endif
