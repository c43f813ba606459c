/*
 * convert.h: executing a plan: source rows -> blocks -> file, by chunks, in parallel, resumably.
 *
 * Output goes to OUT.part, reserved in full before the first byte; OUT.part.journal lists the
 * tensors that are finished and on the disk, and OUT.part.states is where an encoder has got to. A conversion that
 * was killed goes on from there and ends with the same bytes. The finished file is synced and renamed to OUT. Where the plan has
 * several files, each has a part; they get their names when all of them are finished, the first of
 * them (of a moeq model, its index) last.
 */
#ifndef MQ_CONVERT_H
#define MQ_CONVERT_H

#include "losses.h"

#define MQ_CONVERT_DEFAULT_MEMORY (256u << 20)

/*
 * Tensors that are not encoded row by row but by someone who knows more about them: `run` is called
 * once, on one thread, when the output is open, and hands over whole tensors in any order. What it
 * leaves out is encoded as usual. Each tensor that is handed over is finished: a conversion that
 * goes on does not want it again.
 */
struct mq_convert_sink;
struct mq_convert_encoder {
    void *user;
    moeq_status (*run)(void *user, struct mq_convert_sink *sink, moeq_error *err);
};
/* Whether a tensor may be handed over: it is to be quantized, and its rows stay as they are. */
bool mq_convert_as_it_is(const struct mq_convert_sink *sink, const struct mq_tensor *tensor);
/* Whether besides it is not finished yet. */
bool mq_convert_wants(const struct mq_convert_sink *sink, const struct mq_tensor *tensor);
/* The level that the plan gives a tensor. */
const struct mq_level *mq_convert_level(const struct mq_convert_sink *sink,
                                        const struct mq_tensor *tensor);
/* bytes: all rows, blocks of that level. */
moeq_status mq_convert_put(struct mq_convert_sink *sink, const struct mq_tensor *tensor,
                           const uint8_t *bytes, moeq_error *err);

/*
 * Where an encoder has got to, kept in OUT.part.states until the output is finished, or nothing of it is left: a step,
 * numbers of its own, and states. What is kept is of this very plan, and no tensor that was handed over before is
 * missing; mq_convert_note first makes those durable.
 */
struct mq_convert_point {
    uint64_t step, own[4];
    uint64_t bytes; /* of states */
};
moeq_status mq_convert_note(struct mq_convert_sink *sink, moeq_error *err);
moeq_status mq_convert_keep(struct mq_convert_sink *sink, const struct mq_convert_point *point,
                            const void *states, moeq_error *err);
/* point->bytes is what is expected; `there` false without an error: nothing was kept. */
moeq_status mq_convert_kept(const struct mq_convert_sink *sink, struct mq_convert_point *point,
                            bool *there, moeq_error *err);
moeq_status mq_convert_load_kept(const struct mq_convert_sink *sink, void *states, moeq_error *err);

struct mq_convert_options {
    const char *output;
    bool replace; /* an existing OUT may be replaced */
    bool allow_loss; /* a matrix that its level cannot hold is no error */
    const struct mq_convert_encoder *encoder; /* NULL: none */
};

struct mq_convert_result {
    uint64_t bytes_written;   /* the size of the finished files */
    uint64_t tensors_resumed; /* finished by an earlier run */
    uint64_t
        tensors_damaged; /* of its, that were not what it had written, and were converted again */
    uint64_t tensors;
    uint64_t source_again; /* bytes of the source that were read for its sums alone */
    struct mq_losses losses;
};

/*
 * A plan of quantize's, as it is to be executed: of GGUF files (`gguf` not NULL) or of a moeq model
 * in shards of at most shard_bytes. If the policy lets NaN and infinite weights through, what will
 * be copied is read and the plan says how many there are and where: plan->nonfinite_weights, a
 * warning, and a note in the metadata of a moeq file. (Metadata stands before the weights, and
 * every place is fixed before they are copied.)
 */
moeq_status mq_convert_plan(const struct mq_context *context, const struct mq_view *view,
                            const struct mq_policy *policy, const struct mq_gguf_options *gguf,
                            uint64_t shard_bytes, struct mq_plan **plan, moeq_error *err);

/* The same of a folder for another runtime. */
moeq_status mq_convert_plan_folder(const struct mq_context *context, const struct mq_view *view,
                                   const struct mq_policy *policy,
                                   const struct mq_folder_options *folder, struct mq_plan **plan,
                                   moeq_error *err);

/* What mq_convert refuses before it writes, for those who have more to do before they call it. The disk's space is not looked at. */
moeq_status mq_convert_check(const struct mq_context *context, const struct mq_plan *plan,
                             const struct mq_convert_options *options, moeq_error *err);

/* The bytes of the index of a model in several files, beside plan->output_bytes; 0 of one file. */
moeq_status mq_convert_index_bytes(const struct mq_plan *plan, const char *output, uint64_t *bytes,
                                   moeq_error *err);
/* All files of a plan and their index; output NULL: of some name. */
moeq_status mq_convert_files_bytes(const struct mq_plan *plan, const char *output, uint64_t *bytes,
                                   moeq_error *err);

/* Fails with the first matrix that its level cannot hold (losses.h), unless options->allow_loss.
 * Fails before writing anything if OUT is (inside) the source, exists and may not be replaced, or
 * the disk has too little space; and at the end, with nothing left of the output, if a file of the
 * source changed since it was opened or weights are NaN or infinite (all of them are counted;
 * plan->allow_nonfinite copies those that are not quantized). context->memory_bytes 0:
 * MQ_CONVERT_DEFAULT_MEMORY. */
moeq_status mq_convert(const struct mq_context *context, const struct mq_plan *plan,
                       const struct mq_convert_options *options, struct mq_convert_result *result,
                       moeq_error *err);

/* The name of one of the plan's files: OUT with its name_part before the extension and its name_end
 * behind. */
void mq_convert_file_name(const char *output, const struct mq_plan_file *file, char *path,
                          size_t room);

#endif
