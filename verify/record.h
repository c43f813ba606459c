/*
 * record.h: `record BASE -o REF`: what a later `verify` needs of the original, without its weights.
 *
 * REF is a safetensors file, laid out and checksummed as a moeq file is (so `check REF` works):
 *
 *     input_ids     I32 [windows, T]         what was evaluated, BOS already in place
 *     output_norm   [hidden]                 the final norm and the head: in the source's dtype if
 *     head          [vocab, hidden]          that is F32, F16 or BF16, else the F32 they decode to;
 *                                            made with int8, a quantized head: U8 [vocab, bytes],
 *                                            its blocks, which the logits are products of
 *     hidden        F32 [windows*T, hidden]  the final norm's input
 *     router.L      F32 [windows*T, experts] each layer that has a router: its raw logits
 *     router_choice_bias.L, router_expert_scale.L, output_norm_bias, head_bias
 *                   [experts], [hidden], [vocab]  where the model has such vectors: choices and
 *                                            logits are made with them
 *     config.json   U8                       the architecture
 *     text          U8                       the text, as far as its tokens were evaluated: with it
 *                                            verify sees whether another file's tokenizer gives the
 *                                            same ids (absent in files of before there was this)
 *     task_ids       I32 [task windows, T']  of multiple choice: its windows, whose states and router logits stand
 *                                            behind the text's
 *     task_sequences I32 [sequences, 6]      each choice: number of its window; the logits at positions from (second) to
 *                                            before end (third) are scored, those at end - 1 by the id (fourth) that
 *                                            comes next; bytes of the choice; of a task's first choice which one is
 *                                            right, of the others -1
 *     moeq.pad.*, moeq.crc32                 as in a moeq file (formats/FORMAT.md)
 *
 * States and head give logits exactly, from 16 KiB a token where hidden is 4096; the logits
 * themselves would take 125 KiB for a vocabulary of 32,000.
 *
 * Metadata: format "moeqref", moeqref.version, .producer, .family, .source (a JSON array: name,
 * bytes and header CRC-32 of each file of the original), .run (a JSON object: protocol, text,
 * `model`: the original's name without its folder, tokenizer, sizes, `compute`; absent: f32; `head_level` where the head is blocks; `domains`, where the text
 * has some: name, windows, tokens, bytes of the recorded text; and `tasks`, where there are some: name and count
 * of each file), and
 * moeq.options and moeq.notes as in a moeq file.
 */
#ifndef MQ_RECORD_H
#define MQ_RECORD_H

#include "compute.h"
#include "levels.h"
#include "moeq_layout.h"
#include "protocol.h"

#define MQ_RECORDING_FORMAT "moeqref"
#define MQ_RECORDING_VERSION "1"
#define MQ_RECORDING_VERSION_TASKS "2" /* of one with tasks */
#define MQ_RECORDING_META_VERSION "moeqref.version"
#define MQ_RECORDING_META_PRODUCER "moeqref.producer"
#define MQ_RECORDING_META_FAMILY "moeqref.family"
#define MQ_RECORDING_META_SOURCE "moeqref.source"
#define MQ_RECORDING_META_RUN "moeqref.run"

struct mq_record_options {
    const struct mq_text *text;
    const char *output_path;
    struct mq_protocol_options protocol;
    enum mq_compute compute;
    bool replace; /* an output that exists */
};

struct mq_record_result {
    size_t windows, window_tokens;
    uint64_t file_bytes, token_bytes; /* token_bytes: what one token more would add */
};

/*
 * Streams into a file beside the output while the evaluation runs, with memory for the weights'
 * panels and the tokens' states only; the file appears under its name when it is complete and on
 * the disk. An output that is an input is refused.
 */
moeq_status mq_record(const struct mq_context *context, const struct mq_view *view,
                      const struct mq_record_options *options, struct mq_record_result *result,
                      moeq_error *err);

/* The items of a recording, in file order but for padding and checksums: the layout's items have
 * these as `source`; routers follow, one for each layer that has one, then config.json and text,
 * then vectors. */
enum {
    MQ_RECORDING_IDS,
    MQ_RECORDING_NORM,
    MQ_RECORDING_HEAD,
    MQ_RECORDING_HIDDEN,
    MQ_RECORDING_ROUTERS
};

enum { MQ_RECORDED_SEQUENCE = 6 }; /* numbers of a row of task_sequences */

/* Experts of a layer's router; 0: it has none. */
static inline uint32_t mq_recorded_experts(const struct mq_view *view, uint32_t layer)
{
    return view->program->layers[layer]->layer.ffn.router.experts;
}

/* A vector that is recorded beside norm and head. Number n of mq_recorded_vectors; false if the
 * model has none there. */
struct mq_recorded_vector {
    enum mq_role role;
    int32_t layer;
    char name[48];
};
size_t mq_recorded_vectors(const struct mq_view *view);
bool mq_recorded_vector(const struct mq_view *view, size_t n, struct mq_recorded_vector *vector);

/* The level whose blocks the head is recorded in; NULL: as numbers. */
const struct mq_level *mq_record_head_level(const struct mq_view *view, enum mq_compute compute);

/* Where everything goes, for so many windows. `metadata`: key, value, ..., NULL. */
moeq_status mq_record_layout(const struct mq_view *view, enum mq_compute compute, uint64_t windows,
                             uint64_t window_tokens, uint64_t text_bytes,
                             const struct mq_task_set *tasks, const char *const *metadata,
                             struct mq_arena *arena, struct mq_layout *layout, moeq_error *err);

/* Bytes that each token takes: its id, its final state, its router logits. */
uint64_t mq_record_token_bytes(const struct mq_view *view);

/* ---- reading ---- */

/* A recording, opened. */
struct mq_recording {
    struct mq_view *view; /* the original's architecture; of its weights norm, head and vectors alone */
    struct mq_text_windows text;                /* as recorded */
    struct mq_playback playback;                /* for the arm that stands for the original */
    struct mq_playback task_playback;           /* the same in the tasks' windows */
    const char *text_name;                      /* as the text was called then */
    const char *model_name; /* the original, without its folder; NULL: not said */
    enum mq_compute compute;                    /* that it was made with */
    const struct mq_level *head_level;          /* see mq_record_head_level */
    uint64_t weights, weight_bytes, file_bytes; /* of the original */
    struct mq_source_file *sources; /* its files: name, file.size_bytes and header_crc32 alone */
    size_t sources_count;
    bool has_tokenizer;
    uint32_t tokenizer_crc32;
    uint64_t *domain_bytes; /* [text's domains] of the recorded text; the view's arena */
    size_t *router_item; /* [layers]: entry of the file; the view's arena */
    struct mq_safetensors *st;
};

/* Whether a file begins as recordings do; a folder, and what is not there, is none. */
moeq_status mq_is_recording(const char *path, bool *yes, moeq_error *err);

/* Checks every checksum (the file is read once from end to end) and every shape. */
moeq_status mq_recording_open(const struct mq_context *context, const char *path,
                              struct mq_recording **recording, moeq_error *err);
void mq_recording_close(struct mq_recording *recording); /* NULL is fine */

/* The text that was recorded; empty where the file has none. */
moeq_status mq_recording_text(const struct mq_recording *recording, struct mq_buffer *text,
                              moeq_error *err);

/* CRC-32 of a model's tokenizer.json; false if it has none. */
bool mq_tokenizer_fingerprint(const struct mq_view *view, uint32_t *crc);

#endif
