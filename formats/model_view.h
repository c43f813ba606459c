/*
 * model_view.h: a model on disk as one table of tensors, whatever the file format.
 *
 * Opening reads headers and small side files only; weights are read by rows, at offsets, when they
 * are needed. A view is immutable once opened: threads may share it. It owns one arena.
 */
#ifndef MQ_MODEL_VIEW_H
#define MQ_MODEL_VIEW_H

#include "arena.h"
#include "file.h"
#include "layer.h"

/* One logical matrix (or vector, rows = 1). Fused 3-D experts appear as one row of the table per
 * expert and matrix, under the name that the unfused form has. */
struct mq_tensor {
    const char *name; /* official Hugging Face name */
    /* As the file has it, with the expert where one tensor holds several ("blk.0.ffn_up_exps.weight
     * expert 3"); NULL: the same. See mq_tensor_shown. */
    const char *stored_name;
    enum mq_role role;
    int32_t layer, expert; /* -1 where none */
    uint32_t dims;         /* 1 or 2 */
    uint64_t rows, cols;   /* [rows, cols] = [out, in] */
    const char *storage;   /* name of the level that its bytes are in: "bf16", "q4_k" */
    uint64_t row_bytes;
    uint32_t file;   /* index into mq_view.files */
    uint64_t offset; /* of the first row, in that file */
    /* Not 0: the rows of each of so many heads stand in interleaved order, as GGUF files have those
     * of q and k: row i of the head's first half, then row i of its second, i = 0, 1, ... Reading
     * by mq_view_read_rows gives them in order. */
    uint32_t stored_interleaved;
    /* Where its rows do not stand one after the other from `offset` on: how they are put together
     * (assembly.h), in the blocks of `storage`. Otherwise NULL. */
    const struct mq_assembly *assembly;
    /* Of a GGUF file, where rows, columns or values are stored otherwise (gguf/gguf_form.h); reading by
     * mq_view_read_rows gives them as they are in a folder. Otherwise NULL. */
    const struct mq_form *form;
};

/* The bytes that it takes up in its files; those of its rows as they are read may be more, where a
 * scale serves several blocks. */
uint64_t mq_tensor_stored_bytes(const struct mq_tensor *tensor);

/* Whether another tool has quantized it, also where it is read as plain numbers (integer_rows.h). */
bool mq_tensor_has_codes(const struct mq_tensor *tensor);

/* What people are told: the name that they find in the file. */
static inline const char *mq_tensor_shown(const struct mq_tensor *tensor)
{
    return tensor->stored_name ? tensor->stored_name : tensor->name;
}

struct mq_source_file {
    struct mq_file file;
    const char *name;      /* without the folder */
    uint64_t header_bytes; /* 8 + N */
    uint32_t header_crc32; /* of those */
};

/* A small file that was read and closed: mq_view_remember. */
struct mq_read_file {
    const struct mq_read_file *next;
    struct mq_file mark;
};

/* Where implementations disagree about a checkpoint, or it says what moeq does not know: what the
 * user decides. All zero: as Transformers 5 reads it, and refuse what is not known. */
enum mq_window_choice {
    MQ_WINDOW_DEFAULT, /* of the families whose attention has one */
    MQ_WINDOW_APPLY,   /* the config's sliding_window, in any family (as vLLM) */
    MQ_WINDOW_IGNORE   /* none (as llama.cpp for its architecture llama) */
};
enum mq_head_choice {
    MQ_HEAD_DEFAULT, /* stored and different from the embeddings: the stored one, else tied */
    MQ_HEAD_STORED,  /* lm_head.weight, whatever tie_word_embeddings says */
    MQ_HEAD_TIED     /* as tie_word_embeddings says, whatever is stored (as Transformers 4) */
};
struct mq_open_options {
    const char *const *ignored_keys; /* of config.json, that moeq does not know */
    size_t ignored_keys_count;
    enum mq_window_choice sliding_window;
    enum mq_head_choice lm_head;
    bool no_check; /* a moeq file's checksums are not compared with what is read; not recorded */
};

/* How config.json says that the weights are stored, of the ways that moeq reads: see
 * quantization_config.h. All zero: as plain numbers. */
enum mq_source_method {
    MQ_SOURCE_PLAIN,
    MQ_SOURCE_F8,         /* F8_E4M3 and scales */
    MQ_SOURCE_MXFP4,      /* blocks and scales */
    MQ_SOURCE_COMPRESSED, /* compressed-tensors: what a tensor is stored as its names and dtypes say */
    MQ_SOURCE_MLX,        /* integers in U32, scales and biases; experts stacked */
    MQ_SOURCE_GPTQ,       /* integers in I32, transposed */
    MQ_SOURCE_AWQ         /* the same in another order */
};
/* One way of storing integers; tensors are stored in one of those that config.json speaks of. */
struct mq_source_scheme {
    uint32_t bits, group; /* group 0: a scale for each row; MQ_GROUP_TENSOR: one */
    bool zeros;           /* a zero of its own for each group */
};
#define MQ_GROUP_TENSOR UINT32_MAX
enum { MQ_MAX_SCHEMES = 24 };
struct mq_source_claim {
    enum mq_source_method method;
    uint32_t block_rows, block_cols; /* of F8_E4M3 that share a scale; 0: a row, or the tensor */
    struct mq_source_scheme schemes[MQ_MAX_SCHEMES];
    uint32_t schemes_count;
    bool nvfp4;          /* there are tensors of these, of compressed-tensors */
    bool mxfp4;          /* there are tensors of these blocks too */
    bool reordered;      /* of GPTQ: columns are of any group */
    bool zeros_less_one; /* of GPTQ: as its first format has them */
};

/* A table of so many rows is about 50 MB; the largest models known have 2^16 tensors. */
enum { MQ_MAX_TENSORS = 1 << 18 };

/* What a view was made of. */
enum mq_view_kind {
    MQ_VIEW_FOLDER,   /* a Hugging Face folder, also one of a tokenizer alone */
    MQ_VIEW_MOEQ,     /* a moeq file or its index: quantized already */
    MQ_VIEW_GGUF,     /* a GGUF file, or the first of several */
    MQ_VIEW_CONFIG,   /* config.json alone: the table stands, rows cannot be read */
    MQ_VIEW_RECORDING /* of moeq record: of the weights, the head and its norm */
};
/* What results call it, "huggingface"; and people, "Hugging Face folder". */
const char *mq_view_kind_name(enum mq_view_kind kind);
const char *mq_view_kind_title(enum mq_view_kind kind);

/* Small files that belong to a model; where each is found: mq_side_files. */
enum mq_side {
    MQ_SIDE_CONFIG,
    MQ_SIDE_TOKENIZER,
    MQ_SIDE_TOKENIZER_CONFIG,
    MQ_SIDE_GENERATION_CONFIG,
    MQ_SIDE_CHAT_TEMPLATE,
    /* Templates beside that one: a JSON object, {"tool_use": "...", ...}. */
    MQ_SIDE_CHAT_TEMPLATES,
    /* The metadata of the GGUF file that the model came from, as a GGUF file without tensors; empty
     * if it came from none. See gguf_carried.h. */
    MQ_SIDE_GGUF_METADATA,
    /* Of a folder: what the tokenizer and the chat template were made of, besides. */
    MQ_SIDE_ADDED_TOKENS,
    MQ_SIDE_SPECIAL_TOKENS_MAP,
    MQ_SIDE_CHAT_TEMPLATE_JSON,
    MQ_SIDE_COUNT
};

struct mq_view {
    const char *path;       /* as the user gave it */
    const char *index_path; /* of a moeq model in several files; otherwise NULL */
    const struct mq_family *family;
    struct mq_hparams hparams;
    const struct mq_model_program *program;
    enum mq_view_kind kind;
    struct mq_tensor *tensors; /* in the order that a moeq file has: see moeq_layout.h */
    size_t tensors_count;
    struct mq_source_file *files;
    size_t files_count;
    /* Side files' bytes, as they came but for what folder_tokenizer.h says; size 0 where there was
     * none. */
    struct mq_buffer side[MQ_SIDE_COUNT];
    /* The file that the tokenizer was made of, where it is no tokenizer.json: "tokenizer.model". */
    const char *tokenizer_source;
    /* Why there is no tokenizer, where the file has one that cannot be read; see
     * mq_view_no_tokenizer. */
    const char *tokenizer_problem;
    struct mq_source_claim claim;
    struct mq_open_options options; /* its strings are the arena's */
    /* Sentences on what a user should know of how the model was read: see mq_view_note. */
    const char **notes;
    size_t notes_count;
    const char **metadata; /* of a moeq or GGUF file: key, value, key, value, ..., NULL */
    const char *
        calibrated_on; /* of one, its MQ_META_CALIBRATED_ON (token_profile.h), unread; NULL: it has none */
    struct mq_checksums *checksums; /* (checksums.h) of a moeq file; NULL: nothing is compared */
    bool removed;      /* its files were, on purpose: they are read under no name */
    struct mq_read_file *read_files;
    struct mq_arena *arena;
    int32_t *index; /* [layers + 1][MQ_ROLE_COUNT][max(1, experts)] -> tensor, -1 if none */
};

/*
 * Opens a Hugging Face folder, a moeq file (of several their index, or the folder that holds them),
 * a GGUF file (of several the first), or `owner/name` in the local Hugging Face cache. Files are
 * told apart by how they begin, not by their names.
 * Checks that every tensor the family needs is there with the shape that the config says.
 */
moeq_status mq_view_open(const char *path, struct mq_view **view, moeq_error *err);
/* With a user's choices; NULL: none. */
moeq_status mq_view_open_with(const char *path, const struct mq_open_options *options,
                              struct mq_view **view, moeq_error *err);

/* Where such a model's files are: the path itself, or a snapshot's folder in the cache. */
enum { MQ_FOUND_PATH = 4096 };
moeq_status mq_model_find(const char *path, char found[MQ_FOUND_PATH], moeq_error *err);

/*
 * The view of a model of which only its config.json is here: the same table of tensors, each stored
 * in the dtype that the config names ("torch_dtype" or "dtype": float32, float16 or bfloat16;
 * bfloat16 where it is silent), so that a plan has the weights' exact bytes. files[0] is the
 * config.json itself, offsets are 0, and reading rows is an error.
 */
moeq_status mq_view_from_config(const char *path, const struct mq_open_options *options,
                                struct mq_view **view, moeq_error *err);
/* The same by a folder that has a config.json, or owner/name in the Hub's cache. */
moeq_status mq_view_open_config(const char *path, const struct mq_open_options *options,
                                struct mq_view **view, moeq_error *err);
/*
 * The view of a folder that has no more than a tokenizer: its side files stand, merged as those of
 * a model's folder are (folder_tokenizer.h), nothing else does. There may be no tokenizer.
 */
moeq_status mq_view_open_tokenizer(const char *folder, struct mq_view **view, moeq_error *err);
void mq_view_close(struct mq_view *view); /* NULL is fine */

/* Why there is no tokenizer, to follow "path: ". */
const char *mq_view_no_tokenizer(const struct mq_view *view);

/* The tensor of a role; layer and expert -1 where none. NULL if the model has none (a router in a
 * dense layer, the head of a model whose head is tied to its embeddings). */
const struct mq_tensor *mq_view_find(const struct mq_view *view, enum mq_role role, int32_t layer,
                                     int32_t expert);

/* Whether any layer has a router. */
bool mq_view_has_experts(const struct mq_view *view);
/* Which option of `convert` decides the level of a role, and what it counts as: in a model that has
 * experts its MLPs, beside or instead of experts, are MQ_CLASS_SHARED: they are used by every token,
 * and few. */
enum mq_role_class mq_view_class(const struct mq_view *view, enum mq_role role);

/* Where row `row` of a matrix of `rows` stands if those of each of `heads` are interleaved. */
uint64_t mq_interleaved_row(uint64_t rows, uint32_t heads, uint64_t row);

/* A small file is about to be read: it belongs to the model. */
moeq_status mq_view_remember(struct mq_view *view, const char *path, moeq_error *err);

/* A number that is another one, nearly certainly, for a model of other files: made of config.json, names, sizes and headers, and
 * of some bytes of each. */
moeq_status mq_view_fingerprint(const struct mq_view *view, uint32_t *fingerprint, moeq_error *err);

/* Fails if a file that the view was made of, or that it reads, is another one by now: whatever was
 * made of it is half of one model and half of another. Called between passes and at the end by
 * whatever reads weights. */
moeq_status mq_view_check_unchanged(const struct mq_view *view, moeq_error *err);

/* Permissions for what is made of it: none for others that its files do not give them. */
mode_t mq_view_mode(const struct mq_view *view);

/* Reads rows [row, row + count), each as it is stored: count * row_bytes bytes. Of a moeq file fails where that completes a
 * tensor which is not what was written (checksums.h). */
moeq_status mq_view_read_rows(const struct mq_view *view, const struct mq_tensor *tensor,
                              uint64_t row, uint64_t count, void *bytes, moeq_error *err);

/* The same without comparing. */
moeq_status mq_view_read_rows_unchecked(const struct mq_view *view, const struct mq_tensor *tensor,
                                        uint64_t row, uint64_t count, void *bytes, moeq_error *err);

/* Reads what was not read of tensors of a moeq file of which some was, that they are compared whole: for one who needs all, but
 * had some from elsewhere, as a conversion that goes on. */
moeq_status mq_view_read_rest(const struct mq_view *view, moeq_error *err);

/* As many rows as should be read at a time: of a matrix that is stored transposed, each reading takes
 * a piece of every stored row, for few rows a small one. 1 of others. */
uint64_t mq_view_rows_at_once(const struct mq_tensor *tensor);

/* Has the kernel read them into the page cache, and does not wait for it. */
void mq_view_prefetch_rows(const struct mq_view *view, const struct mq_tensor *tensor, uint64_t row,
                           uint64_t count);

/* As mq_fail_tensor, at the place of a row (0: of the tensor) in its file. */
moeq_status mq_view_fail_row(moeq_error *err, moeq_status status, const struct mq_view *view,
                             const struct mq_tensor *tensor, uint64_t row, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The file that has a tensor: its path, and its name alone. */
const char *mq_view_tensor_path(const struct mq_view *view, const struct mq_tensor *tensor);
const char *mq_view_tensor_file(const struct mq_view *view, const struct mq_tensor *tensor);

/* The path of that file of the view which is the one of this device and inode; NULL: none is. */
const char *mq_view_has_file(const struct mq_view *view, dev_t device, ino_t inode);

/* Whether two views are of the same files. */
bool mq_same_model(const struct mq_view *a, const struct mq_view *b);

/* What a model takes up as it is stored: weights, their bytes, and the bytes of its files. */
struct mq_stored_size {
    uint64_t weights, weight_bytes, file_bytes;
};
struct mq_stored_size mq_stored_size(const struct mq_view *view);

/* 0 of no weights. */
static inline double mq_bits_per_weight(uint64_t bytes, uint64_t weights)
{
    return weights ? 8.0 * (double)bytes / (double)weights : 0;
}

#endif
